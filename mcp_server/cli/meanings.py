"""What was meant by words that are no commands: those of other tools by their meaning, slips by their letters.

MEANT holds, for each word that people bring along, our words for it: a command, or the last word of one. Only commands
that exist are offered; a test holds every line to that. Words of two parts may stand in either order (`get jobs`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core import near

MOST = 3  # commands that are offered
MEANT = {
    # what is there, and how it is
    "ps": "status, workload list, worker list",
    "top": "status, metrics",
    "ls": "list, status, workflow list",
    "list": "status, workflow list, job list",
    "get": "list, show, get, status",
    "describe": "show, explain, status",
    "show": "status, workflow show, job show",
    "info": "show, status, doctor",
    "inspect": "show, explain",
    "cat": "show",
    "view": "show, status",
    "why": "explain",
    "health": "status, doctor",
    "check": "validate, doctor, workflow validate",
    "lint": "validate, workflow validate, job validate",
    "logs": "log, logs",
    "log": "job log, logs",
    "tail": "logs, job log, messages",
    "events": "messages, audit",
    "watch": "messages, invocation watch, status",
    "version": "--version",
    "help": "--help",
    "config": "settings, doctor, context list",
    "settings": "settings, doctor",
    "env": "context list, variable list",
    "nodes": "worker list",
    "queue": "kv queue, kv list",
    "cron": "schedule list",
    "schedules": "schedule list",
    # make it run
    "deploy": "up, plan, apply, job deploy",
    "up": "up, plan, serve",
    "install": "catalog install, plan, mcp install",
    "launch": "up, plan, serve",
    "start": "serve, up, plan, resume",
    "run": "trigger invoke, schedule run, job deploy, demo",
    "exec": "trigger invoke",
    "invoke": "trigger invoke",
    "call": "trigger invoke",
    "fire": "trigger invoke, schedule run",
    "execute": "trigger invoke",
    "server": "serve",
    "daemon": "serve",
    "engine": "serve, status",
    "init": "serve, demo, workflow save",
    "new": "workflow new, workflow save, create, put",
    "create": "create, put, save, set, plan",
    "add": "create, put, set, save, install",
    "make": "create, put, save",
    "edit": "put, save, revise, update, set",
    "save": "put, publish, workflow save",
    "push": "gitops apply, apply, publish",
    "sync": "reconcile, gitops apply",
    "diff": "gitops diff, workflow diff, plan",
    "preview": "plan",
    "test": "trace, job trace, validate",
    "dry-run": "plan, job trace",
    "retry": "rerun, replay, invocation rerun, letters replay",
    "undo": "rollback",
    "scale": "plan",
    "connect": "mcp install, login",
    # end it
    "rm": "delete, undeploy, remove, discard, deactivate, revoke, uninstall, retire, plan --remove",
    "delete": "delete, undeploy, remove, discard, deactivate, revoke, uninstall, retire, plan --remove",
    "remove": "remove, undeploy, delete, discard, deactivate, revoke, uninstall, retire, plan --remove",
    "del": "delete, undeploy, remove, deactivate, plan --remove",
    "destroy": "plan --remove, undeploy, delete",
    "down": "plan --remove, job undeploy",
    "undeploy": "plan --remove, job undeploy",
    "uninstall": "catalog uninstall, plan --remove",
    "stop": "plan --remove, undeploy, schedule pause, pause, cancel",
    "kill": "cancel, invocation cancel, runs cancel, job undeploy",
    "cancel": "invocation cancel, runs cancel",
    "abort": "cancel, invocation cancel",
    "pause": "schedule pause, worker drain",
    "disable": "deactivate, pause, trigger deactivate, schedule pause",
    "enable": "revise, resume, schedule resume",
    "cordon": "worker drain",
    "drain": "worker drain",
    # who, and what is secret
    "auth": "login, whoami, token list",
    "signin": "login",
    "user": "whoami, token list, role list",
    "roles": "role list",
    "bind": "role bind",
    "grant": "role bind",
    "password": "secret set",
    "vars": "variable list, context list",
    "values": "context list",
    "dlq": "letters list",
    "dead-letters": "letters list",
    "ui": "console",
    "dashboard": "console",
    "web": "console, serve",
    "templates": "catalog search",
    "pipeline": "workflow list, plan",
    "pipelines": "workflow list, status",
}


def commands_for(words: Sequence[str], known: Collection[str]) -> list[str]:
    """The commands, without the program's name, that were probably meant by the first words of a line, best first.

    `known` are the commands by their whole paths; a group of them is known by its first word.
    """
    words = [word for word in words[:2] if not word.startswith("-")]
    groups = {path.split()[0] for path in known if " " in path}
    first, second = (*words, "", "")[:2]
    group = first if first in groups else "" if first in MEANT else _group(first, groups)
    if group and second:
        return _within(group, second, known)[:MOST]
    if group and group != first:
        return _offered([f"{group} list", f"{group} show", group], known)[:MOST] or [group]
    if (other := _group(second, groups)) and first not in known:
        return _within(other, first, known)[:MOST]
    meant = _offered(_parts(MEANT.get(first, "")), known)
    whole = {path for path in known if " " not in path}
    return (meant or near.nearest(first, whole | groups, 1) or [p for p in known if p.endswith(f" {first}")])[:MOST]


def _within(group: str, word: str, known: Collection[str]) -> list[str]:
    """Commands of one group by the word that stands for the last of theirs."""
    verbs = [path.partition(" ")[2] for path in known if path.startswith(f"{group} ")]
    if word in verbs:
        return [f"{group} {word}"]
    meant = [one for one in _parts(MEANT.get(word, "")) if one in verbs]
    meant = meant or near.nearest(word, verbs, 1)
    return [f"{group} {one}" for one in meant]


def _group(word: str, groups: Collection[str]) -> str:
    """The group that a word names, in the singular or the plural; nothing when it names none."""
    forms = (word, word.removesuffix("s"), f"{word}s")
    return next((one for one in forms if one and one in groups), "")


def _parts(meant: str) -> list[str]:
    return [one.strip() for one in meant.split(",") if one]


def _offered(meant: Sequence[str], known: Collection[str]) -> list[str]:
    return [one for one in meant if one.startswith("--") or one.partition(" --")[0] in known]
