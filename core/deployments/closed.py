"""What of a job is closed on the workers that it may come to: told with the plan. Pure.

A blocker when every worker refuses it, a warning when some do; both name the setting and who may open it
(docs/opening.md). Of a worker that has never joined nothing is known, and it is believed to allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple

from core.dsl.language import compile as compiler
from core.dsl.language import places
from core.dsl.language.needs import Need, What
from core.dsl.language.places import Named
from core.errors import Forbidden, shorten
from core.guard import addresses, listen
from core.guard.openings import Candidate, Openings
from core.guard.pathrules import Locator
from core.model.enrolment import Ability
from core.model.plan import Finding

SHOWN_WORKERS = 4


class _Opener(NamedTuple):
    """What opens a need: the words for it, and the setting with its variable."""

    does: str
    setting: str
    variable: str
    ability: str = ""
    """What a token has to grant besides, to a worker of another machine."""


_OPENERS = {
    What.EXEC: _Opener("runs commands", "allow_exec", "SLUICE_ALLOW_EXEC=true", Ability.EXEC),
    What.EGRESS: _Opener(
        "lets jobs connect to {address}", "egress_allow", "SLUICE_EGRESS_ALLOW={host}", Ability.EGRESS
    ),
    What.LISTEN: _Opener("lets jobs listen at {address}", "listen_allow", "SLUICE_LISTEN_ALLOW={host}", Ability.LISTEN),
    What.CLOUD: _Opener(
        "lends its operator's cloud credentials", "cloud_credentials", "SLUICE_CLOUD_CREDENTIALS=true", Ability.CLOUD
    ),
    What.NATS: _Opener("knows a NATS server", "nats", "SLUICE_NATS=nats://HOST:4222"),
}

_CLOSED_PORT = _Opener(
    "lets jobs listen at a port of Sluice or NATS",
    "closed_ports",
    "SLUICE_CLOSED_PORTS without it; those of this engine and of its NATS server stay closed, so take another port",
)


def allows(need: Need, openings: Openings) -> bool:
    """Whether a worker with these openings lets a job do it. A host by name is judged when it is dialled."""
    try:
        match need.what:
            case What.EXEC:
                return openings.exec
            case What.CLOUD:
                return openings.cloud
            case What.NATS:
                return openings.nats
            case What.LISTEN:
                listen.check(need.address, openings.listen, openings.closed_ports)
            case What.EGRESS if need.url:
                addresses.check_target(need.address, openings.egress)
            case What.EGRESS:
                addresses.check_host(listen.endpoint(need.address).host, openings.egress)
    except Forbidden:
        return False
    except ValueError:
        return True  # no address at all, which is told by who reads it
    return True


class Told(NamedTuple):
    """What is in the way of a job, and what may be."""

    blockers: list[Finding]
    warnings: list[Finding]


@dataclass(frozen=True, slots=True)
class _Job:
    """Whom findings are about: a job, and the workers that it may come to."""

    name: str
    group: str
    candidates: Sequence[Candidate]
    pointer: str

    def need(self, need: Need, told: Told) -> None:
        where = f"Job {self.name}, {need.pointer}"
        if not need.known:
            message = f"{where}: the host is filled in later; whether it is open is unknown until it runs."
            hint = "A host that is written out, or comes from a wizard field or a context value, is checked here."
            told.warnings.append(Finding("unknown_until_run", message, hint, self.pointer))
            return
        refusing = [one for one in self.candidates if one.openings is not None and not allows(need, one.openings)]
        opener = _opener(need, refusing)
        text = shorten(need.written, 100)
        variable = opener.variable.format(host=_with_what_is_open(need, refusing))
        way = f"setting {opener.setting} (sluice.toml, or {variable})"
        self._say(where, opener.does.format(address=text), way, opener.ability, refusing, told)

    def path(self, path: Named, told: Told) -> None:
        refusing = [one for one in self.candidates if one.files is not None and _refuses(path, one.files)]
        if len(refusing) < len(self.candidates):  # what all of them refuse is path_not_allowed
            does = f"lets jobs {'write' if path.writes else 'read'} {shorten(path.text, 100)}"
            way = "setting file_roots (--file-root [TENANT=]PATH)"
            self._say(f"Job {self.name}, {path.pointer}", does, way, Ability.FILES, refusing, told)

    def _say(self, where: str, does: str, way: str, ability: str, refusing: Sequence[Candidate], told: Told) -> None:
        if not refusing:
            return
        hint = f"{_who(refusing)} can open it: {way}, at the next start.{_ungranted(ability, refusing)}"
        if len(refusing) == len(self.candidates):
            message = f"{where}: no worker of group {self.group} {does}."
            told.blockers.append(Finding("closed", message, hint, self.pointer))
            return
        rest = [one.worker for one in self.candidates if one not in refusing]
        message = f"{where}: not every worker of group {self.group} {does}; {_names(rest)} may, and not {{}}."
        hint = f"{hint} Or place the step in a group of which every worker may."
        refused = _names([one.worker for one in refusing])
        told.warnings.append(Finding("closed_on_some_workers", message.format(refused), hint, self.pointer))


def of_checked(
    job: str,
    group: str,
    checked: compiler.CheckedJob,
    candidates: Callable[[str], Sequence[Candidate]],
    pointer: str = "",
) -> Told:
    """What of a job is closed on the workers of its group; nothing is said when there are none."""
    there, told = candidates(group), Told([], [])
    if there:
        about = _Job(job, group, there, pointer)
        for need in compiler.needs_of(checked):
            about.need(need, told)
        for path in compiler.named_paths(checked):
            about.path(path, told)
    return told


def _opener(need: Need, refusing: Sequence[Candidate]) -> _Opener:
    if need.what is What.LISTEN and refusing:
        port = listen.endpoint(need.address).port
        if all(one.openings is not None and port in one.openings.closed_ports for one in refusing):
            return _CLOSED_PORT
    return _OPENERS[need.what]


def _with_what_is_open(need: Need, refusing: Sequence[Candidate]) -> str:
    """The value of the setting, which replaces the one it has, if that is the same on all workers."""
    host = _host(need)
    lists = {
        one.openings.listen if need.what is What.LISTEN else one.openings.egress for one in refusing if one.openings
    }
    return ",".join([*(lists.pop() if len(lists) == 1 else ()), host])


def _host(need: Need) -> str:
    if not need.address:
        return ""
    if need.url:
        host = addresses.check_url(need.address).host
        address = addresses.address_of(host)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return str(mapped or address or shorten(host, 60))  # as the setting takes it
    return shorten(listen.endpoint(need.address).host or "0.0.0.0", 60)


def _refuses(path: Named, files: Locator) -> bool:
    return next(places.refused(path, files), None) is not None


def _names(workers: Sequence[str]) -> str:
    more = len(workers) - SHOWN_WORKERS
    return ", ".join(workers[:SHOWN_WORKERS]) + (f" and {more} more" if more > 0 else "")


def _ungranted(ability: str, refusing: Sequence[Candidate]) -> str:
    """What is lacking besides, when the tokens of some workers did not grant it."""
    names = [one.worker for one in refusing if ability and one.can is not None and ability not in one.can]
    if not names:
        return ""
    grants = f"sluice worker-token create --name {names[0]} --can {ability}"
    return f" Nor did the token of {_names(names)} grant it; a new one does: {grants}."


def _who(refusing: Sequence[Candidate]) -> str:
    """Whose it is to open something: of the engine's own workers, and of each other machine."""
    far = [one.worker for one in refusing if one.external]
    near = ["whoever starts sluice serve"] if len(far) < len(refusing) else []
    who = " and ".join([*near, *([f"whoever runs sluice worker {_names(far)}"] if far else [])])
    return who[:1].upper() + who[1:]
