// One trigger: its form, which is its schema; running it; and its earlier runs.

import { Button, SegmentedControl, Textarea } from "@mantine/core";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useRef, useState } from "react";
import { useAct } from "../api/act";
import { call, Problem, type Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Facts, Head, Loading, Read, Refusal, Section } from "../parts/Page";
import { State } from "../parts/State";
import { useSession, useTenant } from "../parts/session";
import { keepTyped, typedBefore } from "../parts/typed";
import { coded } from "../words/code";
import { InvocationRows } from "./Invocations";
import { edited } from "./runEvents";
import { Revisions, TriggerActions } from "./TriggerActions";
import { surfacesOf } from "./Triggers";
import { nameOf, objectOf, waitsFor } from "./triggerForm";

const ParameterForm = lazy(() => import("../parts/ParameterForm"));

type Params = Record<string, unknown>;
type Invocation = Schemas["Invocation"];

type Shown = Schemas["Trigger"];

export function Trigger() {
  const { slug } = useParams({ strict: false }) as { slug: string };
  const { rerun } = useSearch({ strict: false }) as { rerun?: string };
  const tenant = useTenant();
  const read = useRead("trigger_get", { slug, tenant_id: tenant }, { every: 5_000 }); // its target
  const earlier = useRead("trigger_invocation_get", { invocation_id: rerun ?? "" }, { enabled: !!rerun });
  const runs = useList("trigger_invocation_list", { slug, limit: 20 });
  return (
    <Read of={read}>
      {(trigger) => (
        <>
          <Head
            title={nameOf(trigger)}
            state={
              trigger.active ? (
                <State word={trigger.target_up ? "running" : "offline"} title="its target job" />
              ) : (
                <State word="stopped" title="deactivated" />
              )
            }
            actions={<TriggerActions trigger={trigger} />}
          />
          <p>{trigger.description}</p>
          <Facts
            items={[
              ["Slug", <code key="slug">{trigger.slug}</code>],
              ["Revision", trigger.revision],
              ["Target", <code key="target">{trigger.target_job_name}</code>],
              ["Answers", trigger.mode.replaceAll("_", " ")],
              ["Offered", surfacesOf(trigger.publication)],
              ["Tool", trigger.tool_name && <code key="tool">{trigger.tool_name}</code>],
            ]}
          />
          {!trigger.active && (
            <div className="note warning">
              It is deactivated: nobody can run it. {trigger.deactivated_by && `By ${trigger.deactivated_by} `}
              {trigger.deactivated_at && <Age at={trigger.deactivated_at} />}
            </div>
          )}
          {trigger.active && !trigger.invokable && (
            <div className="note warning">Its policy does not let you run it.</div>
          )}
          {!trigger.target_up && <Down trigger={trigger} />}
          {rerun ? (
            <Read of={earlier}>
              {(run) => <Run key={run.invocation_id} trigger={trigger} tenant={tenant} before={run} />}
            </Read>
          ) : (
            <Run key={slug} trigger={trigger} tenant={tenant} />
          )}
          <Section title="Earlier runs">
            <Read of={runs}>{() => <InvocationRows rows={runs.rows} />}</Read>
          </Section>
          <Revisions trigger={trigger} />
        </>
      )}
    </Read>
  );
}

function Down({ trigger }: { trigger: Shown }) {
  const { target_job_name: job } = trigger;
  const replicas = useList("workload_list", { job });
  return (
    <div className="note warning">
      {replicas.isSuccess && waitsFor(job, replicas.rows.length > 0)}
      {trigger.next?.map((step) => (
        <p key={step.call + step.why}>
          {step.why} <code>{step.command ?? `${step.call} ${coded(step.arguments)}`}</code>
        </p>
      ))}
    </div>
  );
}

/** What differs between the parameters of an earlier run and what the present schema takes. */
export function compare(schema: Params, before: Params): { unknown: string[]; fresh: string[] } {
  const known = Object.keys((schema.properties as Params | undefined) ?? {});
  const needed = (schema.required as string[] | undefined) ?? [];
  return {
    unknown: schema.additionalProperties === false ? Object.keys(before).filter((key) => !known.includes(key)) : [],
    fresh: needed.filter((key) => !(key in before)),
  };
}

function Run({ trigger, tenant, before }: { trigger: Shown; tenant: string; before?: Invocation }) {
  const schema = trigger.definition.parameter_schema ?? {};
  const navigate = useNavigate();
  const { default_params } = trigger.definition;
  const first = useMemo(() => before?.params ?? default_params ?? {}, [before?.params, default_params]);
  // What was typed stays while the rest of the record moves, and while one looks at other pages.
  const { username } = useSession().identity;
  const place = [username, tenant, trigger.slug, before?.invocation_id ?? ""].join(" ");
  const [typed, setTyped] = useState(() => typedBefore(place));
  const params = typed ?? first;
  const [text, setText] = useState<string | null>(null); // of the JSON view, while that is open
  const { act, busy, problem, setProblem, changed } = useAct({ once: true });
  const key = useRef(crypto.randomUUID()); // one run, however often the button is pressed before an answer comes
  const differs = before && compare(schema, before.params);
  const yours = edited(before?.params ?? {}, params);

  function change(now: Params) {
    const keys = [...new Set([...Object.keys(params), ...Object.keys(now)])];
    const others = keys.filter((key) => JSON.stringify(params[key]) !== JSON.stringify(now[key]));
    setTyped(now);
    keepTyped(place, now);
    if (others.length) changed(others);
  }

  const run = (wanted: Params) =>
    act(
      async () => {
        const once = { idempotency_key: key.current, wait_timeout_seconds: 0 };
        const made = before
          ? await call(
              "trigger_invocation_rerun",
              { invocation_id: before.invocation_id, ...edited(before.params, wanted), ...once },
              { tenant },
            )
          : await call(
              "trigger_invoke",
              { slug: trigger.slug, tenant_id: tenant, params: wanted, ...once },
              { tenant },
            );
        key.current = crypto.randomUUID();
        keepTyped(place, null);
        await navigate({ to: "/invocations/$id", params: { id: made.invocation_id } });
      },
      ({ code }) => {
        if (code !== "unreachable") key.current = crypto.randomUUID(); // it was answered: nothing was begun
      },
    );

  function fromText() {
    try {
      return objectOf(text ?? "");
    } catch (error) {
      setProblem(
        new Problem({
          code: "invalid_params",
          status: 0,
          detail: `The parameters are no JSON object: ${(error as Error).message}`,
          hint: "",
          errors: [],
        }),
      );
      return null;
    }
  }

  const json = JSON.stringify(params, null, 2);
  return (
    <Section title="Run it">
      {differs && (
        <div className="note">
          <p>
            These are the parameters of{" "}
            <Link to="/invocations/$id" params={{ id: before.invocation_id }}>
              <code>{before.invocation_id}</code>
            </Link>{" "}
            (<Age at={before.requested_at} />
            ), in the form of revision {trigger.revision}.
          </p>
          <Names title="New, and needed" names={differs.fresh} />
          <Names title="Unknown now" names={differs.unknown} />
          <Names title="Changed by you" names={[...Object.keys(yours.params), ...yours.unset]} />
        </div>
      )}
      <div className="filters">
        <SegmentedControl
          aria-label="View"
          data={["Form", "JSON"]}
          value={text === null ? "Form" : "JSON"}
          onChange={(view) => {
            if (view === "JSON") return setText(json);
            const parsed = fromText();
            if (!parsed) return;
            change(parsed);
            setText(null);
          }}
        />
        <Copy slug={trigger.slug} tenant={tenant} params={params} tool={trigger.tool_name} />
      </div>
      {text === null ? (
        <Suspense fallback={<Loading />}>
          <ParameterForm
            schema={schema}
            value={params}
            change={change}
            faults={problem?.fault.errors ?? []}
            submit={run}
            disabled={!trigger.invokable}
            busy={busy}
            verb={`Run ${nameOf(trigger)}`}
          />
        </Suspense>
      ) : (
        <>
          <Textarea
            aria-label="Parameters as JSON"
            autosize
            minRows={4}
            maxRows={24}
            value={text}
            onChange={(event) => {
              setText(event.currentTarget.value);
              changed();
              try {
                keepTyped(place, objectOf(event.currentTarget.value));
              } catch {
                // it is said when the text is to be used
              }
            }}
            styles={{ input: { fontFamily: "var(--mono)" } }}
          />
          <Button
            mt="sm"
            loading={busy}
            disabled={!trigger.invokable}
            onClick={() => {
              const parsed = fromText();
              if (parsed) void run(parsed);
            }}
          >
            Run {nameOf(trigger)}
          </Button>
        </>
      )}
      {problem && <Refusal problem={problem} />}
    </Section>
  );
}

function Names({ title, names }: { title: string; names: string[] }) {
  if (!names.length) return null;
  return (
    <p>
      {title}: <code>{names.join(", ")}</code>
    </p>
  );
}

/** The same run over the other doors. */
function Copy({ slug, tenant, params, tool }: { slug: string; tenant: string; params: Params; tool: string | null }) {
  const body = JSON.stringify(params);
  const quoted = `'${body.replaceAll("'", "'\\''")}'`;
  const ways: [string, string][] = [
    [
      "curl",
      `curl -X POST ${location.origin}/api/triggers/${slug}/invoke -H "authorization: Bearer $TOKEN" -H 'x-sluice-tenant: ${tenant}' -H 'content-type: application/json' -d '${JSON.stringify({ params }).replaceAll("'", "'\\''")}'`,
    ],
    ["CLI", `sluice trigger invoke ${slug} --tenant ${tenant} --params ${quoted}`],
    ...(tool ? [["MCP", JSON.stringify({ name: tool, arguments: params })] as [string, string]] : []),
  ];
  return (
    <span style={{ marginLeft: "auto" }}>
      <span className="quiet">Copy as </span>
      {ways.map(([name, text]) => (
        <Button key={name} variant="subtle" onClick={() => void navigator.clipboard.writeText(text)}>
          {name}
        </Button>
      ))}
    </span>
  );
}
