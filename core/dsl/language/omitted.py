"""What other documentation of this language names and Sluice does not have, each with its reason and a way round."""

from __future__ import annotations

OMITTED: dict[str, str] = {
    "cluster": "Needs numeric libraries and a choice of algorithm; send vectors to a service with the action http.",
    "scoring": "Needs a model that is trained before; ask a service that has one with the action http.",
    "windows-event-log": "Workers run on Linux; let a forwarder on the Windows host send to http-server or tcp.",
}


def reason(name: str) -> str:
    """Why there is no component of this name, as a clause for a message; empty for other names."""
    text = OMITTED.get(name.replace("_", "-"))
    return f"; left out on purpose: {text}" if text else ""
