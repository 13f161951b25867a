"""Circles in a directed graph: each is named once, in time linear in the size of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def cycles(before: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Circles that share no node, each as the names along the arrows; empty when the graph has an order.

    `before` maps every node to the nodes whose arrows end in it. Of two circles through one node only the first is
    told: the other may be gone once that one is broken.
    """
    after: dict[str, list[str]] = {name: [] for name in before}
    for name, sources in before.items():
        for source in sources:
            after[source].append(name)
    waits = {name: len(sources) for name, sources in before.items()}
    left = dict.fromkeys(before)

    def take(names: list[str]) -> None:
        """Remove nodes, and then what waits for nothing any more (Kahn); the list grows while it is walked."""
        for name in names:
            left.pop(name, None)
            for target in after[name]:
                waits[target] -= 1
                if not waits[target] and target in left:
                    names.append(target)

    take([name for name, count in waits.items() if not count])
    rank = {name: number for number, name in enumerate(before)} if left else {}
    unseen = {name: iter(before[name]) for name in left}
    found: list[list[str]] = []
    for start in list(left):
        # Walk against the arrows. Whoever is left waits for somebody who is left, so the walk meets itself; what a
        # node has been asked about is gone or below it on the path, so no arrow is looked at twice.
        path, places = [start], {start: 0}
        while path:
            if path[-1] not in left:
                del places[path.pop()]
                continue
            source = next(name for name in unseen[path[-1]] if name in left)
            if source not in places:
                places[source] = len(path)
                path.append(source)
                continue
            circle = path[places[source] :]
            del path[places[source] :]
            for name in circle:
                del places[name]
                del left[name]
            take(list(circle))
            circle.reverse()
            first = circle.index(min(circle, key=rank.__getitem__))
            found.append(circle[first:] + circle[:first])
    return found
