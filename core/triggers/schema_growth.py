"""How much work a schema can make of one instance: bounded, or the schema is refused before anyone validates with it.

Two things make a small schema cost without bound. References that fan out double the subschemas that one value is
held against with every level; and a recursion that comes back to one child in two ways doubles with every level of the
instance. Both are seen in the graph of the schema, without an instance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from core import errors, pointers
from core.errors import Problem

MAX_WAYS = 1_000  # subschemas that one value may be held against
MAX_VISITS = 100_000  # of the check itself

# Keywords by which value their subschemas are held against: the value itself, or something inside it.
_SAME_ONE = ("not", "if", "then", "else")
_SAME_LIST = ("allOf", "anyOf", "oneOf")
_OTHER_PROPERTIES = ("additionalProperties", "unevaluatedProperties")


class _Node:
    """One subschema: what else is held against the same value, and what against the values inside it."""

    def __init__(self, schema: dict[str, Any], pointer: str) -> None:
        self.schema = schema
        self.pointer = pointer
        self.same: list[_Node] = []
        self.named: dict[str, _Node] = {}
        self.patterns: list[_Node] = []
        self.others: list[_Node] = []  # the properties that neither a name nor a pattern takes
        self.entries: list[_Node] = []  # items and prefixItems: one of them for each entry
        self.every: list[_Node] = []  # contains and unevaluatedItems: beside those
        self.ways = 0
        self.part = 0  # the strongly connected part of the graph

    def inner(self) -> Iterator[_Node]:
        yield from self.named.values()
        for group in (self.patterns, self.others, self.entries, self.every):
            yield from group


def problems(schema: dict[str, Any], at: str) -> list[Problem]:
    """Why a schema would cost too much; empty when it does not. It must have passed the checks of size and depth."""
    nodes, lost = _graph(schema, at)
    if lost:
        return lost
    return _count_ways(nodes) or _repeated(nodes)


def _graph(schema: dict[str, Any], at: str) -> tuple[list[_Node], list[Problem]]:
    known: dict[int, _Node] = {}
    waiting: list[_Node] = []

    def node(part: Any, pointer: str) -> Iterator[_Node]:
        if not isinstance(part, dict):
            return  # true and false cost nothing
        if id(part) not in known:
            known[id(part)] = made = _Node(part, pointer)
            waiting.append(made)
        yield known[id(part)]

    def many(one: _Node, keyword: str) -> Iterator[tuple[str, _Node]]:
        held = one.schema.get(keyword)
        pairs = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
        for key, part in pairs:
            for found in node(part, f"{one.pointer}/{keyword}/{key}"):
                yield str(key), found

    def single(one: _Node, *keywords: str) -> Iterator[_Node]:
        for keyword in keywords:
            yield from node(one.schema.get(keyword), f"{one.pointer}/{keyword}")

    list(node(schema, at))
    while waiting:
        one = waiting.pop()
        reference = one.schema.get("$ref")
        if isinstance(reference, str):
            target = _resolve(schema, reference)
            if target is None:
                text = f"the reference {errors.shorten(reference, 80)} leads nowhere"
                return [], [Problem(f"{one.pointer}/$ref", text)]
            one.same += node(target, at + reference.removeprefix("#"))
        for keyword in (*_SAME_LIST, "dependentSchemas"):
            one.same += [found for _, found in many(one, keyword)]
        one.same += single(one, *_SAME_ONE)
        one.named = dict(many(one, "properties"))
        one.patterns = [found for _, found in many(one, "patternProperties")]
        one.others = list(single(one, *_OTHER_PROPERTIES))
        one.entries = [*single(one, "items"), *(found for _, found in many(one, "prefixItems"))]
        one.every = list(single(one, "contains", "unevaluatedItems", "propertyNames"))
    return list(known.values()), []


def _count_ways(nodes: list[_Node]) -> list[Problem]:
    """Count for each subschema how many are held against one value with it, in the order in which they need each
    other; a subschema that needs itself has no end."""
    for start in nodes:
        path: list[tuple[_Node, Iterator[_Node]]] = [(start, iter(start.same))] if not start.ways else []
        open_ones = {id(start)}
        while path:
            one, left = path[-1]
            following = next(left, None)
            if following is None:
                path.pop()
                open_ones.discard(id(one))
                one.ways = 1 + sum(each.ways for each in one.same)
                if one.ways > MAX_WAYS:
                    text = f"a value would be held against more than {MAX_WAYS} subschemas; combine fewer of them"
                    return [Problem(one.pointer, text)]
            elif id(following) in open_ones:
                reference = errors.shorten(one.schema.get("$ref", following.pointer), 80)
                return [Problem(f"{one.pointer}/$ref", f"the reference {reference} leads back to itself")]
            elif not following.ways:
                open_ones.add(id(following))
                path.append((following, iter(following.same)))
    return []


def _repeated(nodes: list[_Node]) -> list[Problem]:
    """Recursions that hold one child against themselves in more than one way."""
    sizes = _parts(nodes)
    recursive = [one for one in nodes if sizes[one.part] > 1 or one in (*one.same, *one.inner())]
    if sum(one.ways for one in recursive) > MAX_VISITS:
        return [Problem(recursive[0].pointer, "the schema refers to itself in too many ways")]
    for one in recursive:
        named: Counter[str] = Counter()
        anywhere = entries = 0
        held = [one]
        while held:
            each = held.pop()
            held += each.same

            def back(group: list[_Node], part: int = one.part) -> int:
                return sum(child.part == part for child in group)

            patterns, others = back(each.patterns), back(each.others)
            anywhere += patterns + others
            for name, child in each.named.items():
                named[name] += (child.part == one.part) - others
            entries += min(1, back(each.entries)) + back(each.every)
        if max([anywhere, entries, *(anywhere + count for count in named.values())]) > 1:
            text = "the schema comes back to itself in more than one way, so that validation could take for ever"
            return [Problem(one.pointer, text)]
    return []


def _parts(nodes: list[_Node]) -> Counter[int]:
    """Number the strongly connected parts of the graph (Tarjan, without recursion); returns their sizes."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[_Node] = []
    on_stack: set[int] = set()
    sizes: Counter[int] = Counter()
    for start in nodes:
        path = [] if id(start) in index else [(start, iter((*start.same, *start.inner())))]
        while path:
            one, left = path[-1]
            if id(one) not in index:
                index[id(one)] = low[id(one)] = len(index)
                stack.append(one)
                on_stack.add(id(one))
            for following in left:
                if id(following) not in index:
                    path.append((following, iter((*following.same, *following.inner()))))
                    break
                if id(following) in on_stack:
                    low[id(one)] = min(low[id(one)], index[id(following)])
            else:
                path.pop()
                if path:
                    before = id(path[-1][0])
                    low[before] = min(low[before], low[id(one)])
                if low[id(one)] == index[id(one)]:
                    while True:
                        member = stack.pop()
                        on_stack.discard(id(member))
                        member.part = index[id(one)]
                        sizes[member.part] += 1
                        if member is one:
                            break
    return sizes


def _resolve(schema: Any, reference: str) -> Any:
    node = schema
    for part in pointers.split(reference.removeprefix("#")):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return None
    return node
