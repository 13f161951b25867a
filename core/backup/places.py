"""Where backups are kept that the engine takes by itself: a directory, or a bucket under a prefix.

Each has a name that tells whose it is and of when, so that of many homes in one place each drops only its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from core import clock, errors

_OWN = len("sluice-") + 8  # characters of a name that tell whose it is
PART_BYTES = 16 * 1024 * 1024
_NAME = re.compile(r"sluice-(?P<home>[0-9A-Za-z_-]{8})-[0-9]{8}T[0-9]{9}Z\.tar")


def name_of(home_id: str, at_ns: int) -> str:
    """The name of a backup: names of one home are ordered by time."""
    at = "".join(one for one in clock.iso(at_ns) if one not in "-:.")
    return f"sluice-{home_id[:8]}-{at}.tar"


def superfluous(names: Sequence[str], home_id: str, keep: int) -> list[str]:
    """Which of the names go when the newest `keep` backups of a home stay: of no other home, and nothing else."""
    own = sorted(name for name in names if (found := _NAME.fullmatch(name)) and found["home"] == home_id[:8])
    return own[: max(0, len(own) - keep)]


class Place(Protocol):
    """Where archives are kept. Every method raises StorageUnavailable or TargetUnavailable."""

    def local(self, name: str) -> Path | None:
        """Where it can be written at once; None: it is made elsewhere, and then `put`."""

    def put(self, file: Path, name: str) -> None:
        """Keep a finished archive; it is there whole or not at all, and durable when this returns."""

    def names(self) -> list[str]:
        """The names that are there."""

    def delete(self, names: Sequence[str]) -> None:
        """Remove archives."""


def place(to: str) -> Place:
    """The place of a setting. Raises InvalidParams."""
    if "://" not in to:
        return Directory(Path(to).expanduser().absolute())
    parts = urlsplit(to)
    if parts.scheme not in ("s3", "gs", "az") or not parts.netloc:
        raise errors.InvalidParams(
            f"backup_to is {errors.shorten(to, 100)}: neither a directory nor s3://BUCKET/PREFIX (or gs://, az://)."
        )
    return Bucket(to)


class Directory:
    """A directory of this machine, such as a mounted disk: it must be there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def local(self, name: str) -> Path | None:
        if not self._path.is_dir():  # a disk that is not mounted must not be taken for its mount point
            raise errors.StorageUnavailable(
                f"{self._path} cannot keep a backup: it is not there.", hint="Mount or make it."
            )
        try:
            for old in self._path.glob(".sluice-*.partial"):
                if old.name[1 : 1 + _OWN] == name[:_OWN]:  # of this home, whose backups are one at a time
                    old.unlink()
        except OSError as error:
            raise self._fault(error) from error
        return self._path / name

    def put(self, file: Path, name: str) -> None:
        """It lies there already."""

    def names(self) -> list[str]:
        try:
            return [path.name for path in self._path.iterdir()]
        except OSError as error:
            raise self._fault(error) from error

    def delete(self, names: Sequence[str]) -> None:
        try:
            for name in names:
                (self._path / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> errors.StorageUnavailable:
        return errors.StorageUnavailable(f"{self._path} cannot keep a backup: {error.strerror or error}.")


class Bucket:
    """A bucket, as the operator: with the credentials of the environment, as the tools of each cloud take them."""

    def __init__(self, url: str) -> None:
        try:
            import obstore
            import obstore.store
        except ImportError:
            raise errors.TargetUnavailable(
                "Backups to an object store need the extra s3.", hint="pip install 'sluice-mcp[s3]'"
            ) from None
        self._obstore: Any = obstore
        self._url = url
        try:
            self._store: Any = obstore.store.from_url(url, client_options={"allow_http": _plain_http()})
        except Exception as error:  # a boundary: obstore raises its own
            raise self._fault(error) from None

    def local(self, name: str) -> Path | None:
        return None

    def put(self, file: Path, name: str) -> None:
        try:
            self._obstore.put(self._store, name, file, use_multipart=True, chunk_size=PART_BYTES, mode="overwrite")
        except Exception as error:  # as above
            raise self._fault(error) from None

    def names(self) -> list[str]:
        try:
            return [str(one["path"]).rpartition("/")[2] for part in self._obstore.list(self._store) for one in part]
        except Exception as error:  # as above
            raise self._fault(error) from None

    def delete(self, names: Sequence[str]) -> None:
        try:
            self._obstore.delete(self._store, list(names))
        except Exception as error:  # as above
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> errors.TargetUnavailable:
        return errors.TargetUnavailable(
            f"{errors.shorten(self._url, 100)} cannot keep a backup: {errors.shorten(str(error).strip(), 200)}",
            hint="Credentials and the endpoint come from the environment of the engine (AWS_*, GOOGLE_*, AZURE_*).",
        )


def _plain_http() -> bool:
    """Only for an endpoint that the operator names himself."""
    return os.environ.get("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT", "")).startswith("http://")
