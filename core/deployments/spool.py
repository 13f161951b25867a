"""A durable channel as objects in a store: what its writers, readers and relays are given. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs

from core.errors import shorten
from core.model.catalog import Transport
from core.model.plan import Finding
from core.model.transport import OPTIONS
from core.near import did_you_mean

DEFAULT_INTERVAL = "1s"
_PLACES: Mapping[str, Mapping[str, str]] = {
    # store -> setting of the channel -> key of the component
    "s3": {
        "bucket-name": "bucket-name",
        "region": "region",
        "endpoint": "endpoint",
        "access-key": "access-key",
        "secret-key": "secret-key",
        "security-token": "security-token",
        "role-arn": "role-arn",
    },
    "gcs": {"bucket-name": "bucket-name", "endpoint": "endpoint", "credentials": "credentials"},
    "azure-blob": {
        "bucket-name": "container-name",
        "account": "storage-account",
        "secret-key": "storage-master-key",
        "endpoint": "endpoint",
    },
}
_EVERY_PLACE = frozenset(key for place in _PLACES.values() for key in place)


@dataclass(frozen=True, slots=True)
class Spool:
    """Where the objects of a channel lie, and how they are written and read.

    All objects of a channel have names below `prefix`, so that channels which share a place do not mix.
    """

    component: str  # file-store, s3, gcs or azure-blob
    place: Mapping[str, Any]
    prefix: str  # ends with a slash
    options: Mapping[str, Any]

    def output(self) -> dict[str, Any]:
        """The output of a writer."""
        options = self.options
        prefix, gzip = str(options.get("guid-prefix", "")), bool(options.get("gzip"))
        config: dict[str, Any] = {
            **self.place,
            "object-name": {"name": self.prefix},
            "guid-prefix": f"{prefix}-" if prefix else "",
            "guid-suffix": ".json.gz" if gzip else ".json",
            "batch": {
                "mode": "fixed",
                "fixed-size": options.get("batch-size", 1000),
                "timeout": options.get("batch-timeout", DEFAULT_INTERVAL),
            },
        }
        if gzip:
            config["preprocessors"] = ["gzip"]
        return {self.component: config}

    def input(self, readers: Sequence[str]) -> dict[str, Any]:
        """The input of a reader; `readers` are the jobs that read this channel."""
        config: dict[str, Any] = {**self._objects(), "json": True}
        if self.options.get("gzip"):
            config["preprocessors"] = ["gzip"]
        if (replay := self.options.get("replay")) is not None:
            config["replay"] = replay
        kept = {"age": "retention", "max-bytes": "max-bytes", "max-objects": "max-objects"}
        retention = {key: self.options[option] for key, option in kept.items() if option in self.options}
        if retention:
            config["retention"] = retention
            if len(readers) > 1:
                receipts = f"{self.prefix.removesuffix('/')}.taken/"
                config["retention"] |= {"readers": list(readers), "receipts": receipts}
        return {self.component: config}

    def listing(self) -> dict[str, Any]:
        """The input of a relay: one event for each new object."""
        return {self.component: {**self._objects(), "mode": "list-objects"}}

    def _objects(self) -> dict[str, Any]:
        return {
            **self.place,
            "object-names": [self.prefix],
            "fingerprinting": True,
            "trigger": {"interval": {"duration": self.options.get("interval", DEFAULT_INTERVAL)}},
        }


def of(transport: Transport, options: Mapping[str, Any], namespace: str) -> Spool | None:
    """The spool of a channel; None for a transport that has none. `namespace` is TENANT/DEPLOYMENT/CHANNEL."""
    if transport is Transport.FILE_STORE:
        return Spool("file-store", {"path": str(options.get("path", ""))}, f"{namespace}/", options)
    if transport is not Transport.OBJECT_STORE:
        return None
    store = str(options.get("store", "s3"))
    place: dict[str, Any] = {key: options[name] for name, key in _PLACES.get(store, {}).items() if name in options}
    if "credentials" in place:
        place["credentials"] = {"service-account": {"key": place["credentials"]}}
    above = str(options.get("path", "")).strip("/")
    return Spool(store, place, f"{above}/{namespace}/" if above else f"{namespace}/", options)


def check(
    name: str, transport: Transport, options: Mapping[str, Any], pointer: str, *, complete: bool = True
) -> Iterable[Finding]:
    """What is wrong with the staged settings of a channel; unless `complete`, what is missing is told already."""
    known = OPTIONS[transport]
    for key, value in options.items():
        at = f"{pointer}/with/{key}"
        if key not in known:
            guess = did_you_mean(key, known)
            message = f"Channel {name}: {transport} has no setting {shorten(key, 60)}{guess}."
            yield Finding("invalid_transport", message, f"Settings: {', '.join(known) or 'none'}.", at)
        elif not _validators(transport)[key].is_valid(value):
            message = f"Channel {name}: {shorten(value, 60)} is no value for {key}: {known[key].text}"
            yield Finding("invalid_transport", message, f"Correct {key}.", at)
    for key, option in known.items() if complete else ():
        if option.required and key not in options:
            message = f"Channel {name}: {transport} needs {key}: {option.text}"
            hint = f'Add `with: {{{key}: ...}}`, e.g. {key}: "{{{{wizard.{key}}}}}".'
            yield Finding("invalid_transport", message, hint, f"{pointer}/with")
    if transport is Transport.OBJECT_STORE:
        yield from _check_store(name, options, pointer, complete)


def _check_store(name: str, options: Mapping[str, Any], pointer: str, complete: bool) -> Iterable[Finding]:
    store = str(options.get("store", "s3"))
    takes = _PLACES.get(store)
    if takes is None:
        return  # told as a value that does not fit
    for key in options:
        if key in _EVERY_PLACE and key not in takes:
            message = f"Channel {name}: a store of kind {store} has no setting {key}."
            yield Finding("invalid_transport", message, f"It takes: {', '.join(takes)}.", f"{pointer}/with/{key}")
    if complete and store == "azure-blob" and "account" not in options:
        message = f"Channel {name}: a store of kind azure-blob needs account: the storage account."
        yield Finding("invalid_transport", message, "Add `with: {account: ...}`.", f"{pointer}/with")


@cache
def _validators(transport: Transport) -> Mapping[str, Any]:
    return {
        name: jsonschema_rs.validator_for(dict(option.schema), offline=True)
        for name, option in OPTIONS[transport].items()
    }
