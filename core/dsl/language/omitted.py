"""What other documentation of this language names and Sluice does not have, each with its reason and a way round."""

from __future__ import annotations

OMITTED: dict[str, str] = {
    "infer": "Needs a model or a paid service. Call one with http-post, or in a job of your own behind a message.",
    "cluster": "Needs numeric libraries and a choice of algorithm; send vectors to a service with http-post.",
    "scoring": "Needs a model; see infer.",
    "pdf-text": "Parsers that cope with real files are native code under licences that do not fit, fed by strangers;"
    " let exec run pdftotext.",
    "docx-to-text": "As pdf-text; let exec run a converter such as pandoc.",
    "windows-event-log": "Workers run on Linux; let a forwarder on the Windows host send to http-server or tcp.",
    "web-dav-store": "No kept client with streaming; mount the share and use file-store, or put one object for each"
    " event with http-post and method put.",
}


def reason(name: str) -> str:
    """Why there is no component of this name, as a clause for a message; empty for other names."""
    text = OMITTED.get(name.replace("_", "-"))
    return f"; left out on purpose: {text}" if text else ""
