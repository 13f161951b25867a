"""Mermaid of three kinds (flowchart LR, stateDiagram-v2, sequenceDiagram) as SVG in the page.

What is drawn has classes and no styles, so that `static/site.css` gives it the colours of light and of dark, and the
policy of the server lets it in. A line that is not understood ends the build: nothing is left out of a picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

from core.catalog.svg import columns

FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NODE = r"([\w-]+)(?:\[([^\]]*)\]|\(([^)]*)\))?"
_EDGE = re.compile(rf"{_NODE}\s*(-->|-\.->)\s*(?:\|([^|]*)\|\s*)?{_NODE}")
_MOVE = re.compile(r"(\[\*\]|\w+) --> (\[\*\]|\w+)(?:\s*:\s*(.*))?")
_SAYS = re.compile(r"(\w+)(-->>|->>)(\w+):\s*(.*)")
_WHO = re.compile(r"participant (\w+)(?: as (.*))?")
_NOTE = re.compile(r"Note (?:right|left) of (\w+):\s*(.*)")
LETTER = 7.2  # px, about, of a text of 12 px
HIGH, ACROSS, DOWN, MARGIN = 36, 70, 18, 8
LANE, ROW = 320, 34  # of a sequence


class NotUnderstood(ValueError):
    """A line of Mermaid that is none of those that are drawn."""


@dataclass
class Drawing:
    """Boxes by their names, and what leads from one to another: (from, to, text, dashed)."""

    boxes: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (text, class)
    lines: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def box(self, name: str, text: str = "", kind: str = "box") -> None:
        if text or name not in self.boxes:
            self.boxes[name] = (text or name, kind)


def drawn(source: str) -> str:
    """The source of a page with each Mermaid fence as a figure."""
    return FENCE.sub(lambda found: f"<figure class='picture'>{svg(found[1])}</figure>", source)


def svg(text: str) -> str:
    """One picture."""
    kind, *lines = (line.strip() for line in text.strip().splitlines())
    lines = [line for line in lines if line and not line.startswith("%%")]
    if kind == "sequenceDiagram":
        return _sequence(lines)
    if kind == "flowchart LR":
        return _layers(_flow(lines))
    if kind == "stateDiagram-v2":
        return _layers(_states(lines))
    raise NotUnderstood(f"no picture of this kind is drawn: {kind}")


def _flow(lines: list[str]) -> Drawing:
    out = Drawing()
    for line in lines:
        found = _EDGE.fullmatch(line)
        if found is None:
            raise NotUnderstood(line)
        one, square, round_, arrow, text, other, square2, round2 = found.groups()
        out.box(one, square or round_ or "", "round" if round_ else "box")
        out.box(other, square2 or round2 or "", "round" if round2 else "box")
        out.lines.append((one, other, text or "", arrow == "-.->"))
    return out


def _states(lines: list[str]) -> Drawing:
    out = Drawing()
    for line in lines:
        found = _MOVE.fullmatch(line)
        if found is None:
            raise NotUnderstood(line)
        one, other, text = found.groups()
        one, other = ("begin" if one == "[*]" else one), ("end" if other == "[*]" else other)
        for name in (one, other):
            out.box(name, "", "dot" if name in ("begin", "end") else "round")
        out.lines.append((one, other, text or "", False))
    return out


def _layers(drawing: Drawing) -> str:
    """Layers from left to right; what leads back goes below."""
    layers = columns(list(drawing.boxes), _forward(drawing))
    wide = {name: 14 if kind == "dot" else int(len(text) * LETTER) + 22 for name, (text, kind) in drawing.boxes.items()}
    place: dict[str, tuple[int, int, int]] = {}  # name -> x, middle, layer
    tallest = max(map(len, layers))
    x = MARGIN
    for number, layer in enumerate(layers):
        width = max(wide[name] for name in layer)
        gap = max([ACROSS, *(int(len(text) * 6.2) + 24 for one, _, text, _ in drawing.lines if one in layer and text)])
        top = MARGIN + (tallest - len(layer)) * (HIGH + DOWN) // 2
        for row, name in enumerate(layer):
            place[name] = (x, top + row * (HIGH + DOWN) + HIGH // 2, number)
        x += width + gap
    width = max(at[0] + wide[name] for name, at in place.items()) + MARGIN
    bottom = MARGIN + tallest * (HIGH + DOWN)
    parts = []
    backs = 0
    for one, other, text, dashed in drawing.lines:
        (x1, y1, layer1), (x2, y2, layer2) = place[one], place[other]
        if layer2 > layer1:
            x1 += wide[one]
            bend = max(24, (x2 - x1) // 2)
            path, at = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}", ((x1 + x2) // 2, (y1 + y2) // 2 - 4)
        else:
            backs += 1
            low = bottom + 14 * backs
            aside = 5 * (backs % 4)
            x1, x2 = x1 + wide[one] // 2 + aside, x2 + wide[other] // 2 - aside
            path = f"M{x1} {y1 + HIGH // 2}C{x1} {low} {x2} {low} {x2} {y2 + HIGH // 2}"
            at = ((x1 + x2) // 2, (y1 + y2 + HIGH) // 8 + low * 3 // 4 - 4)
        parts.append(f"<path class='line{' dashed' if dashed else ''}' d='{path}' marker-end='url(#tip)'/>")
        if text:
            parts.append(_text(text, *at, "word"))
    for name, (text, kind) in drawing.boxes.items():
        left, middle, _ = place[name]
        if kind == "dot":
            parts.append(f"<circle class='{name}' cx='{left + 7}' cy='{middle}' r='6'/>")
            continue
        radius = HIGH // 2 if kind == "round" else 5
        parts.append(
            f"<rect x='{left}' y='{middle - HIGH // 2}' width='{wide[name]}' height='{HIGH}' rx='{radius}'/>"
            + _text(text, left + wide[name] // 2, middle + 4)
        )
    return _whole(width, bottom + 11 * backs, parts)


def _forward(drawing: Drawing) -> list[dict[str, str]]:
    """The lines without those that lead back to where a way came from, so that what is left has layers."""
    after: dict[str, list[str]] = {name: [] for name in drawing.boxes}
    for one, other, *_ in drawing.lines:
        after[one].append(other)
    kept: list[dict[str, str]] = []
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        done.add(name)
        for other in after[name]:
            if other not in (*way, name):
                kept.append({"from": name, "to": other})
                if other not in done:
                    walk(other, (*way, name))

    for name in drawing.boxes:
        if name not in done:
            walk(name, ())
    return kept


def _sequence(lines: list[str]) -> str:
    who: dict[str, str] = {}
    parts: list[str] = []
    y = MARGIN + HIGH + 24
    for line in lines:
        if found := _WHO.fullmatch(line):
            who[found[1]] = found[2] or found[1]
            continue
        if found := _SAYS.fullmatch(line):
            x1, x2 = _lane(who, found[1]), _lane(who, found[3])
            dashed = " dashed" if found[2] == "-->>" else ""
            parts.append(f"<path class='line{dashed}' d='M{x1} {y}H{x2}' marker-end='url(#tip)'/>")
            parts.append(_text(found[4], (x1 + x2) // 2, y - 6, "word"))
        elif found := _NOTE.fullmatch(line):
            x, width = _lane(who, found[1]), int(len(found[2]) * LETTER) + 16
            parts.append(f"<rect class='note' x='{x - width // 2}' y='{y - 16}' width='{width}' height='24' rx='3'/>")
            parts.append(_text(found[2], x, y))
        else:
            raise NotUnderstood(line)
        y += ROW
    for name, text in who.items():
        x, width = _lane(who, name), max(90, int(len(text) * LETTER) + 22)
        parts.insert(0, f"<path class='lane' d='M{x} {MARGIN + HIGH}V{y}'/>")
        parts.append(f"<rect x='{x - width // 2}' y='{MARGIN}' width='{width}' height='{HIGH}' rx='5'/>")
        parts.append(_text(text, x, MARGIN + HIGH // 2 + 4))
    return _whole(max(_lane(who, name) for name in who) + 120, y, parts)


def _lane(who: dict[str, str], name: str) -> int:
    return 120 + list(who).index(name) * LANE


def _text(text: str, x: int, y: int, kind: str = "name") -> str:
    return f"<text class='{kind}' x='{x}' y='{y}' text-anchor='middle'>{escape(text)}</text>"


def _whole(width: int, height: int, parts: list[str]) -> str:
    words = ", ".join(re.findall(r"<text[^>]*>([^<]*)<", "".join(parts)))
    tip = (
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path class='tip' d='M0 0L8 4L0 8z'/></marker></defs>"
    )
    size = f"viewBox='0 0 {width} {height + MARGIN}' width='{width}'"
    return f"<svg {size} role='img' aria-label='{escape(words, quote=True)}'>{tip}{''.join(parts)}</svg>"
