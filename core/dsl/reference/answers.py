"""The reference of the job language as answers: index, one entry, its keys, search. Pure; docs and doors show the same.

It is made for a reader with little room: every answer is below ANSWER_CHARACTERS, and names what to ask next.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import orjson

from core import errors
from core.dsl.reference import entries
from core.near import nearest

if TYPE_CHECKING:
    from core.model.results import catalog

ANSWER_CHARACTERS = 3_000  # of the JSON; with the text that a door adds, below 2,000 tokens of 3 characters
_WORD = re.compile(r"[^\W_]+")


def index() -> catalog.LanguageReference:
    """Every name, a line for each kind."""
    names = {kind: ", ".join(name for k, name in entries.by_name() if k == kind) for kind in entries.KINDS}
    return {
        **cast("catalog.LanguageReference", names),
        "next": "kind and name show one entry; kind alone, its entries with a line each; query searches.",
    }


def of_kind(kind: str) -> catalog.LanguageReference:
    """The entries of a kind with a line each."""
    rows: list[catalog.LanguageEntry] = [
        {"name": entry.name, "summary": entry.summary} for entry in entries.by_name().values() if entry.kind == kind
    ]
    out: catalog.LanguageReference
    for limit in (entries.DOC_CHARACTERS, 80, 60, 45, 30, 15):
        items: list[catalog.LanguageEntry] = [{**row, "summary": errors.shorten(row["summary"], limit)} for row in rows]
        out = {"kind": kind, "items": items, "next": "Add name to see keys and an example."}
        if fits(out):
            break
    return out


def find(kind: str | None, name: str) -> list[entries.Entry]:
    """The entries of that name. Raises NotFound with what was probably meant."""
    found = [entry for (k, n), entry in entries.by_name().items() if n == name and (kind is None or k == kind)]
    if not found:
        names = sorted({n for k, n in entries.by_name() if kind is None or k == kind})
        close = nearest(name, names, 3, cutoff=0.5)
        guess = f" Did you mean {' or '.join(close)}?" if close else ""
        raise errors.NotFound(
            f"The job language has no {kind or 'entry'} {errors.shorten(name, 60)}.{guess}",
            hint="dsl_reference without arguments lists every name; query searches.",
        )
    return found


def show(entry: entries.Entry, key: str = "") -> catalog.LanguageReference:
    """One entry, or what stands below one of its keys (`auth`, `auth.basic`). Raises NotFound."""
    if key:
        return _below(entry, key)
    head: catalog.LanguageReference = {"kind": entry.kind, "name": entry.name}
    rest: catalog.LanguageReference = {"example": entry.example}
    if entry.kind == "action":
        rest["also"] = "condition, description, suppress-warnings: see document action-keys"
    return _with_keys(head, entry.about, entry.keys, rest)


def _below(entry: entries.Entry, path: str) -> catalog.LanguageReference:
    keys, seen = entry.keys, ""
    found: entries.Key | None = None
    for step in path.split("."):
        found = next((key for key in keys if key.name == step), None)
        if found is None:
            raise errors.NotFound(
                f"{entry.kind} {entry.name} has no key {errors.shorten(seen + step, 60)}.",
                hint=f"Keys here: {errors.shorten(', '.join(key.name for key in keys), 300) or 'none'}.",
            )
        seen += f"{step}."
        keys = entries.keys_of(found.model) if found.model is not None else ()
    assert found is not None
    head: catalog.LanguageReference = {"kind": entry.kind, "name": entry.name, "key": path}
    about = f"{found.line(0)}: {' '.join(found.doc.split())}"
    return _with_keys(head, about, keys, {})


def _with_keys(
    head: catalog.LanguageReference, about: str, keys: Sequence[entries.Key], rest: catalog.LanguageReference
) -> catalog.LanguageReference:
    """The answer with as much about each key as fits; what was left out can be asked for key by key."""
    below = [key.name for key in keys if key.model is not None]
    if below:
        rest["more"] = f"Ask with key for what stands below {', '.join(below)}, or for all about one key."
    for prose, limit in ((2000, 110), (700, 110), (400, 80), (300, 60), (200, 45), (150, 30), (100, 0)):
        lines = [key.line(limit) for key in keys]
        out: catalog.LanguageReference = {**head, "about": errors.shorten(about, prose)}
        if lines:
            out["keys"] = lines
        out = {**out, **rest}
        if fits(out):
            return out
    return {**out, "keys": [", ".join(key.name for key in keys)]}


def search(query: str) -> catalog.LanguageReference:
    """The entries and keys in which every word of the query is found, best first; failing that, most words."""
    words = query.casefold().replace("-", " ").split()
    told = errors.shorten(query, 80)
    items, hint = _with_all(words), "kind and name show an entry."
    if not items:
        items, hint = _with_most(words), "Nothing has all these words; these have most of them."
    if not items:
        return {"query": told, "items": [], "total": 0, "next": "Nothing has these words; without arguments: index."}
    for shown in range(min(len(items), 15), 0, -1):
        out: catalog.LanguageReference = {"query": told, "items": items[:shown], "total": len(items), "next": hint}
        if fits(out):
            break
    return out


def _with_all(words: list[str]) -> list[catalog.LanguageEntry]:
    """Entries and keys that have every word, those with the words in their names first."""
    ranked: list[tuple[int, int, catalog.LanguageEntry]] = []
    for number, entry in enumerate(entries.by_name().values()):
        name = entry.name.casefold().replace("-", " ")
        rank = _rank(words, (name, f"{name} {entry.summary}", f"{name} {entry.kind} {entry.text} {entry.example}"))
        at: catalog.LanguageEntry = {"kind": entry.kind, "name": entry.name, "summary": entry.summary}
        if rank is not None:
            ranked.append((rank * 2, number, at))
        for key in entry.keys:
            rank = _rank(words, (key.name.replace("-", " "), f"{key.name} {name}", f"{name} {key.name} {key.doc}"))
            if rank is not None:
                ranked.append(
                    (rank * 2 + 1, number, {**at, "key": key.name, "summary": entries.first_sentence(key.doc)})
                )
    return [found[2] for found in sorted(ranked, key=lambda found: found[:2])]


def _with_most(words: list[str]) -> list[catalog.LanguageEntry]:
    """Entries that have some of the words as words, best first: a question in plain language has words of its own.

    A word counts more the fewer entries have it, so that `a` and `the` count next to nothing, and three times in the
    name of the entry. Entries with less than half of the best one's weight are left out.
    """
    texts: dict[tuple[str, str], set[str]] = {}
    for at, entry in entries.by_name().items():
        keys = " ".join(f"{key.name} {key.doc}" for key in entry.keys)
        texts[at] = set(_WORD.findall(f"{entry.name} {entry.kind} {entry.text} {keys}".casefold()))
    asked = {form for word in words for form in _WORD.findall(word)}
    rarity = {word: sum(word in text for text in texts.values()) for word in asked}
    weights: list[tuple[float, entries.Entry]] = []
    for at, entry in entries.by_name().items():
        names = set(_WORD.findall(entry.name.casefold()))
        weight = sum((3 if word in names else 1) / rarity[word] for word in asked & texts[at])
        weights.append((weight, entry))
    weights.sort(key=lambda found: -found[0])
    least = max(weights[0][0] / 2, 1e-9)
    best = [entry for weight, entry in weights if weight >= least]
    return [{"kind": entry.kind, "name": entry.name, "summary": entry.summary} for entry in best]


def _rank(words: list[str], texts: tuple[str, str, str]) -> int | None:
    """0 when every word is in the first text, 1 the second, 2 the third; None when one is nowhere."""
    return next((n for n, text in enumerate(texts) if all(word in text.casefold() for word in words)), None)


def fits(answer: catalog.LanguageReference) -> bool:
    """Whether an answer is small enough."""
    return len(orjson.dumps(answer, default=str)) <= ANSWER_CHARACTERS
