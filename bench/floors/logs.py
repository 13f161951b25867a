"""The floor of logs: lines joined, compressed, and put into SQLite; read back, and looked through.

No numbers, no levels, no times, nobody who waits for a line, and nothing that could be lost.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import zstandard

TOGETHER = 1_600  # lines, which are 256 KiB


def write(path: Path, lines: Sequence[str]) -> float:
    """Microseconds of processor time for each line."""
    began = time.process_time()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE chunks (id INTEGER PRIMARY KEY, body BLOB)")
    compressor = zstandard.ZstdCompressor(level=1)
    for start in range(0, len(lines), TOGETHER):
        text = "\n".join(lines[start : start + TOGETHER]).encode()
        db.execute("INSERT INTO chunks (body) VALUES (?)", (compressor.compress(text),))
    db.close()
    return (time.process_time() - began) / len(lines) * 1e6


def search(path: Path, text: str) -> int:
    """In how many chunks of a logbook a text is found, in whatever case."""
    wanted, found = text.lower().encode(), 0
    db = sqlite3.connect(path)
    decompressor = zstandard.ZstdDecompressor()
    for (body,) in db.execute("SELECT body FROM chunks"):
        found += wanted in decompressor.decompress(memoryview(body)[1:]).lower()
    db.close()
    return found
