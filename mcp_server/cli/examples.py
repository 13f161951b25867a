"""One line of example for each command, in an order in which they can be typed one after the other.

`--help` and docs/cli.md show them; tests/mcp_server/cli/test_help.py runs them all in this order, in a directory that
holds examples/. What another command has printed stands in capitals: PLAN_ID, LETTER_ID and the like.
"""

from __future__ import annotations

import functools

STORY = (
    "sluice demo",
    "sluice catalog pack examples/portal --title 'Shared blueprints'",
    "sluice serve --workers default=2,etl=1 --allow-write",
    "sluice service install --dry-run -- --port 3001",
    "sluice service status",
    "sluice service remove --dry-run",
    "sluice console --no-open",
    "sluice backup --without-keys home.tar",
    "sluice backup verify home.tar",
    "sluice restore home.tar --home restored --without-keys",
    "sluice doctor",
    "sluice settings --changed",
    "sluice completion bash",
    "sluice mcp",
    "sluice mcp install claude-code --allow-write",
    "sluice mcp activity --limit 5",
    "sluice mcp notifications",
    "sluice login https://sluice.example --api-key-file key.txt",
    "sluice logout https://sluice.example",
    # the catalog, and what is written on top of it
    "sluice catalog search file",
    "sluice catalog show quickstart-file-store-roundtrip",
    "sluice catalog show access-log-fan-out --graph tree",
    "sluice catalog portals --refresh",
    "sluice catalog install printed-ticks",
    "sluice catalog update printed-ticks",
    "sluice workflow palette dedupe",
    "sluice workflow new my-flow --template durable",
    "sluice workflow validate -f examples/greetings.yaml",
    "sluice workflow save -f examples/greetings.yaml",
    "sluice workflow publish greetings",
    "sluice workflow trace workflow:greetings --set path=greetings",
    "sluice workflow list --state published",
    "sluice workflow show greetings --graph mermaid",
    "sluice workflow clone greetings",
    "sluice workflow diff greetings",
    "sluice up examples/greetings.yaml --name greetings --set path=greetings --yes",
    # groups and workers
    "sluice group create spare --label zone=eu",
    "sluice group list",
    "sluice group show spare",
    "sluice group update spare --slots 8",
    "sluice group delete spare",
    "sluice group rebalance default",
    "sluice worker list",
    "sluice worker show local-1",
    "sluice worker update local-1 --label gpu",
    "sluice worker drain local-2",
    "sluice worker resume local-2",
    "sluice group create edge --admit default",
    "sluice worker-token create --group edge --name edge-1",
    "sluice worker --url https://sluice.example:8765 --token-file token --name edge-1",
    "sluice worker --url nats://nats.example:4222 --token-file token",
    "sluice worker-token list",
    "sluice worker-token revoke WORKER_TOKEN",
    "sluice worker credentials --state pending",
    "sluice worker approve edge-1",
    "sluice worker secrets edge-1",
    "sluice nats-config --streams",
    "sluice worker revoke edge-1",
    "sluice worker remove edge-1",
    # deployments
    "sluice plan roundtrip --from workflow:quickstart-file-store-roundtrip --set path=files --tree",
    "sluice plans list --state open",
    "sluice plans show PLAN_ID",
    "sluice apply PLAN_ID --reason 'a first try'",
    "sluice wait deployment roundtrip --for healthy --timeout 30s",
    "sluice status roundtrip",
    "sluice history roundtrip",
    "sluice explain deployment roundtrip",
    "sluice explain worker local-1",
    "sluice reconcile roundtrip --dry-run",
    "sluice deployment set roundtrip --reconcile manual",
    "sluice deployment reset roundtrip print --to beginning",
    "sluice history roundtrip --compare 1,1",
    "sluice rollback roundtrip --to 1",
    "sluice plans discard PLAN_ID",
    # what jobs find around them
    "sluice context set region=eu retries=3",
    "sluice context get",
    "sluice context list",
    "sluice context history --key retries",
    "sluice context delete retries",
    "sluice secret set web/token --from-file token.txt",
    "sluice secret list",
    "sluice secret rotate-key",
    "sluice secret delete web/token",
    "sluice variable set RATE 10",
    "sluice variable list",
    "sluice variable delete RATE",
    # single jobs
    "sluice dsl input/http-poll --key auth",
    "sluice schema job",
    "sluice job validate -f examples/dedupe.yaml",
    "sluice job trace examples/queue_producer.yaml --message '{}'",
    "sluice job put -f examples/smoke_trigger_handler.yaml --tenant tenant-a",
    "sluice job deploy smoke_trigger_handler --tenant tenant-a",
    "sluice job list --tenant tenant-a",
    "sluice workload list --state running --tenant tenant-a",
    "sluice job show smoke_trigger_handler --tenant tenant-a",
    "sluice job log smoke_trigger_handler --limit 20 --tenant tenant-a",
    "sluice logs smoke_trigger_handler --since 1h --level warning --tenant tenant-a",
    "sluice job metrics --tenant tenant-a",
    "sluice series --since 15m --tenant tenant-a",
    "sluice job measures",
    "sluice metrics",
    "sluice job notifications --tenant tenant-a",
    # events that a job refuses
    "sluice job put -f examples/refused_event.yaml",
    "sluice job deploy refused_event",
    "sluice letters list --job refused_event",
    "sluice letters show LETTER_ID",
    "sluice letters export --job refused_event",
    "sluice letters replay --job refused_event",
    "sluice letters discard LETTER_ID",
    "sluice job clone smoke_trigger_handler my_handler --tenant tenant-a",
    "sluice job stage my_handler --tenant tenant-a",
    # when jobs run by the clock
    "sluice job put -f examples/nightly.yaml",
    "sluice job deploy nightly",
    "sluice schedule list",
    "sluice schedule show nightly",
    "sluice schedule backfill nightly --since 3d --until 1d --dry-run",
    "sluice schedule pause nightly --reason 'the source moves' --until 2h",
    "sluice schedule run nightly --wait 30",
    "sluice schedule resume nightly --missed last",
    "sluice runs list nightly --since 7d",
    "sluice runs show RUN_ID",
    "sluice runs cancel RUN_ID --reason 'wrong window'",
    "sluice job undeploy nightly",
    # triggers and their runs
    "sluice trigger publish -f examples/smoke_trigger.json",
    "sluice trigger list --tenant tenant-a",
    "sluice trigger tools --tenant tenant-a",
    "sluice trigger show smoke_trigger --tenant tenant-a",
    "sluice trigger revise smoke_trigger -f examples/smoke_trigger.json",
    "sluice apply --file examples/smoke_trigger.json --yes",
    "sluice trigger invoke smoke_trigger --set env=staging --callback http://127.0.0.1:9000/done --tenant tenant-a",
    "sluice invocation list --trigger smoke_trigger --tenant tenant-a",
    "sluice invocation get INVOCATION_ID --tenant tenant-a",
    "sluice invocation watch INVOCATION_ID --tenant tenant-a",
    "sluice invocation rerun INVOCATION_ID --set env=prod --tenant tenant-a",
    "sluice invocation cancel INVOCATION_ID --reason 'wrong environment' --tenant tenant-a",
    "sluice invocation callbacks INVOCATION_ID --tenant tenant-a",
    "sluice invocation redeliver EVENT_ID --tenant tenant-a",
    "sluice messages --type trigger-invocation --tenant tenant-a",
    "sluice trigger deactivate smoke_trigger --tenant tenant-a",
    "sluice job undeploy smoke_trigger_handler --tenant tenant-a",
    "sluice job delete my_handler --tenant tenant-a",
    # what jobs keep
    "sluice kv set settings rate 10",
    "sluice kv get settings rate",
    "sluice kv list settings",
    "sluice kv watch settings --seconds 1",
    "sluice kv namespaces",
    "sluice kv delete settings rate",
    "sluice kv queue tickets",
    "sluice kv dead-items tickets requeue",
    # an environment as files
    "sluice gitops validate examples/gitops/dev.yaml",
    "sluice gitops diff examples/gitops/dev.yaml --no-exit-code",
    "sluice gitops apply examples/gitops/shared.yaml",
    "sluice gitops apply examples/gitops/dev.yaml --commit 1111111111111111111111111111111111111111",
    "sluice gitops apply examples/gitops/prod.yaml --commit 1111111111111111111111111111111111111111",
    "sluice gitops status",
    "sluice gitops promote --from dev --to prod --dry-run",
    "sluice gitops rollback --environment dev --commit 1111111111111111111111111111111111111111 --dry-run",
    "sluice gitops runs",
    "sluice gitops import written --environment dev",
    # who may do what, and who did
    "sluice whoami",
    "sluice token create --username ada --role user --member tenant-a",
    "sluice token list",
    "sluice token revoke TOKEN_ID",
    "sluice approve-login BCDF-GHJK --decision deny",
    "sluice service-account create nightly --description 'nightly checks'",
    "sluice role bind operator --service-account nightly",
    "sluice role list",
    "sluice service-account key nightly --expires-in-seconds 7776000",
    "sluice service-account list",
    "sluice role unbind BINDING_ID",
    "sluice service-account delete nightly",
    "sluice audit --limit 20",
    "sluice usage",
    "sluice license show",
    "sluice license install license.json",
    "sluice workflow retire greetings 1",
    "sluice catalog uninstall printed-ticks",
)


_WITH_SUBCOMMANDS = frozenset({"mcp", "worker", "backup"})  # commands that do something without one, too


@functools.cache
def _by_path() -> dict[str, list[str]]:
    """The lines below each path of one and two words that they begin with."""
    found: dict[str, list[str]] = {}
    for line in STORY:
        first, second, *_ = [*line.split()[1:3], "", ""]
        below = [first] if first not in _WITH_SUBCOMMANDS or second[:1] in ("", "-") else []
        for path in (*below, f"{first} {second}"):
            found.setdefault(path, []).append(line)
    return found


def of(path: str) -> list[str]:
    """The examples of a command."""
    return list(_by_path().get(path, ()))


def epilogue(path: str) -> str | None:
    """What stands below the help of a command; None when it has no example."""
    lines = of(path)
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\n".join((title, *(f"  {line}" for line in lines))) if lines else None
