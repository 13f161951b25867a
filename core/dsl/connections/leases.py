"""Leases of KV queues in the hands of a job: acknowledged when its output has accepted the items, else given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from core.dsl.component import Env
from core.errors import InvalidDocument, SluiceError
from core.model.kv import Namespace, Op, Verb

LEASE_FIELD = "_lease"
LAST_WORDS_SECONDS = 5.0


class Leases:
    """Ends leases in the background; those of one moment together, in one transaction."""

    def __init__(self, space: Namespace, env: Env) -> None:
        self._space = space
        self._env = env
        self._ends: list[Op] = []
        self._task: asyncio.Task[None] | None = None

    def end(self, leases: Iterable[str], error: BaseException | None) -> None:
        """The output has accepted what was leased, or with an error it will not, and others shall have it."""
        verb = Verb.ACK if error is None else Verb.RELEASE
        self._ends += [Op(verb, lease) for lease in leases]
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        try:
            while self._ends:
                ops, self._ends = self._ends, []
                results = await self._space.apply(ops)
                late = sum(not r.done for op, r in zip(ops, results, strict=True) if op.verb == Verb.ACK)
                if late:
                    self._env.log(
                        "warning",
                        f"worker-kv: {late} leases had run out before the output accepted their items, which come"
                        " again; make lease-ms longer or the batches smaller",
                    )
        except SluiceError as error:  # nothing is lost: what was not acknowledged comes again
            self._env.log("warning", f"worker-kv: leases could not be ended and will run out: {error.message}")
        finally:
            self._task = None

    async def close(self) -> None:
        """Wait until the engine has heard of every end. Safe to call twice."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LAST_WORDS_SECONDS)


def namespace_of(env: Env, name: str) -> Namespace:
    """The namespace that a document names. Raises InvalidDocument for one that this job may not use."""
    try:
        return env.kv(name)
    except SluiceError as error:
        raise InvalidDocument(error.message, hint=error.hint) from error
