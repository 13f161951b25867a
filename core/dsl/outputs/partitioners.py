"""To which partition of a Kafka topic an event goes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

Name = Literal["murmur2", "crc32", "round-robin"]
Hash = Callable[[bytes], int]
KNOWN_KEYS = 4096  # whose hash is remembered: the one of Java takes long in Python


class Partitioner:
    """Chooses partitions for the records of one topic.

    Those with a key go by its hash, the others together to one partition until `turn` is called.
    """

    def __init__(self, name: Name, murmur2: Hash) -> None:
        self._hash: Hash | None = None
        if name == "murmur2":
            self._hash = lru_cache(KNOWN_KEYS)(lambda key: murmur2(key) & 0x7FFFFFFF)  # as a positive int of Java
        elif name == "crc32":
            self._hash = zlib.crc32
        self._at = random.randrange(1 << 16)

    def choose(self, key: bytes | None, partitions: Sequence[int]) -> int:
        """One of the partitions, which are in order and all there are."""
        if self._hash is None:
            self._at += 1
        elif key is not None:
            return partitions[self._hash(key) % len(partitions)]
        return partitions[self._at % len(partitions)]

    def turn(self) -> None:
        """Records without a key go to the next partition from now on."""
        self._at += 1
