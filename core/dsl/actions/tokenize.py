"""The tokenize action: a text to its words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import ClassVar

from pydantic import Field

from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.events import patterns, select, values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action, Each

_WORD = re.compile(r"\w+")


@REGISTRY.register("tokenize")
class Tokenize(Action):
    """Make the array of the words of a text, or count them.

    A word is a run of letters, digits and underscores of any script, unless a `pattern` says what a token is. A field
    that is missing or no text leaves the event as it is, with a warning. A pattern that needs more than a second for
    one text refuses the event: it is dropped and counted.
    """

    example: ClassVar[str] = """
name: words
input: {echo: {event: '{"text": "The cat and the dog"}', json: true}}
actions:
  - tokenize: {input-field: text, output-field: words, lower: true, stop-words: [the, and]}
output: {print: STDOUT}
"""

    input_field: Selector = "_raw"
    """The field that holds the text."""
    output_field: Selector = "tokens"
    """The field for the tokens."""
    lower: bool = False
    """Write the tokens in lower case."""
    pattern: patterns.Regex | None = None
    """A regular expression (RE2 syntax) for one token; its first group counts when it has groups."""
    stop_words: tuple[str, ...] = Field(default=(), max_length=10_000)
    """Tokens to leave out, in upper or lower case."""
    count: bool = False
    """Write an object of token to number of times instead of an array, the most frequent first."""
    remove: bool = False
    """Remove the input field when it was read."""

    def each(self, env: Env, warn: Warn) -> Each:
        path = select.parse(self.input_field)
        get, take, field = select.getter(path), select.remover(path), self.input_field
        store = select.setter(select.parse(self.output_field))
        find: Callable[[str], Iterable[str]] = _WORD.findall
        if self.pattern is not None:
            find = patterns.finder(self.pattern)
        lower, count, remove = self.lower, self.count, self.remove
        stop = frozenset(word.casefold() for word in self.stop_words)

        def tokenize(event: Event, run: Run) -> Event:
            text = get(event)
            if type(text) is not str:
                warn(f"{field} is {'missing' if text is MISSING else f'a {values.kind(text)} and not a text'}")
                return event
            tokens = find(text.lower() if lower else text)
            if stop:
                tokens = [token for token in tokens if token.casefold() not in stop]
            if remove:
                take(event)
            store(event, dict(Counter(tokens).most_common()) if count else list(tokens))
            return event

        return tokenize
