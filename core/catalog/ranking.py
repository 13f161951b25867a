"""How well items of the catalog fit words: by their stems, by what means the same, and by where they stand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.catalog import words
from core.catalog.items import Listed
from core.store.fulltext import FullText

COLUMNS = ("slug", "title", "summary", "tags")
WEIGHTS = (8.0, 10.0, 2.0, 4.0)
LIKE = 0.5
"""What a word that means the same counts, compared with the word itself."""

_SYNONYMS = FullText(("words",), (1.0,), words.texts())


@dataclass(frozen=True, slots=True)
class Fit:
    """How one item fits a query. `lacks` are the words that it has neither itself nor by one that means the same."""

    place: int
    score: float
    lacks: tuple[str, ...] = ()


class Ranking:
    """An index of items, numbered by their place in the sequence. From any thread."""

    def __init__(self, listed: Sequence[Listed]) -> None:
        self._texts = [_columns(one) for one in listed]
        self._plain = [" ".join(text).casefold() for text in self._texts]
        self._index = FullText(COLUMNS, WEIGHTS, self._texts)

    def rank(self, query: str, among: Collection[int] | None = None) -> list[Fit]:
        """The items that have all words of the query, best first; when none has, those that have most of them.

        Most is at least half, and who has more comes first. When no item has half of the words, the items whose text
        contains all that was typed. What is called like the whole query comes before everything. `among` are the
        places that count, all when left out.
        """
        scored = self._score(query)
        found = _fits(scored, None if among is None else set(among))
        if not found:
            typed = query.casefold().split()
            places = range(len(self._plain)) if among is None else sorted(among)
            found = [Fit(place, 0.0) for place in places if all(word in self._plain[place] for word in typed)]
        whole = query.casefold().strip()
        return sorted(
            found, key=lambda fit: (not self._called(fit.place, whole), len(fit.lacks), -fit.score, fit.place)
        )

    def weigh(self, query: str) -> dict[int, float]:
        """The places of the items that have any word of the query, with what they score."""
        scores: dict[int, float] = {}
        for _, best in self._score(query):
            for place, score in best.items():
                scores[place] = scores.get(place, 0.0) + score
        return scores

    def _score(self, query: str) -> list[tuple[list[str], dict[int, float]]]:
        """For the words that mean one thing: which items have any of them, and what they score for the best of them."""
        found = []
        for said, alike in _concepts(words.split(query)):
            best: dict[int, float] = {}
            for word in said:
                for place, score in self._index.score([word]).items():
                    if score > best.get(place, 0.0):
                        best[place] = score
            for place, score in self._index.score(alike, whole=True).items():
                if score * LIKE > best.get(place, 0.0):
                    best[place] = score * LIKE
            found.append((said, best))
        return found

    def _called(self, place: int, whole: str) -> bool:
        slug, title, *_ = self._texts[place]
        return whole in (slug, title.casefold())


def _fits(scored: Sequence[tuple[list[str], dict[int, float]]], allowed: set[int] | None) -> list[Fit]:
    """The items that have all words; when none has, those that have at least half of them. In no order."""
    if not scored:
        return []
    every = set(scored[0][1]).intersection(*(best for _, best in scored[1:]))
    if every := every if allowed is None else every & allowed:
        return [Fit(place, sum(best[place] for _, best in scored)) for place in every]
    some = set[int]().union(*(best for _, best in scored))
    most = sum(len(said) for said, _ in scored) // 2  # words that may be lacking
    found = []
    for place in some if allowed is None else some & allowed:
        lacks = tuple(word for said, best in scored if place not in best for word in said)
        if len(lacks) <= most:
            found.append(Fit(place, sum(best.get(place, 0.0) for _, best in scored), lacks))
    return found


def _concepts(said: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """The words of a query by what they mean: those that were said, and all of their groups of synonyms. Words of one
    group are one concept: what has any of them has what was asked for."""
    found: dict[tuple[int, ...] | str, list[str]] = {}
    for word in said:
        found.setdefault(tuple(sorted(_SYNONYMS.score([word], whole=True))) or word, []).append(word)
    return [
        (together, [] if isinstance(key, str) else [like for group in key for like in words.SYNONYMS[group].words])
        for key, together in found.items()
    ]


def _columns(one: Listed) -> tuple[str, str, str, str]:
    return one.slug, one.title, one.summary, " ".join(one.tags)
