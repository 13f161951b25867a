"""The settings that each transport takes in `channels.<name>.with`: one table for validation, plans and docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.model.catalog import Transport


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. `schema` is a JSON Schema of its value; a value with {{}} in it is checked when it is planned."""

    text: str
    schema: Mapping[str, Any]
    required: bool = False


_DURATION = {"type": "string", "pattern": r"^\s*\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)\s*$"}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 1024}
_MOMENT = r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2}))?"
_POINT = {"type": "string", "pattern": f"^(?:beginning|now|{_MOMENT})$"}
_ANY_TEXT = {"type": "string", "maxLength": 255}
_COUNT = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
_FLAG = {"type": "boolean"}

_SPOOL = {
    "guid-prefix": Option("A short text in front of the generated part of every object name.", _ANY_TEXT),
    "batch-size": Option("Most events in one object.", _COUNT),
    "batch-timeout": Option("How long events wait for an object to fill.", _DURATION),
    "interval": Option("How often readers look for new objects.", _DURATION),
    "gzip": Option("Whether objects are compressed.", _FLAG),
    "retention": Option(
        "How long objects are kept after they were written. Here, and for max-bytes and max-objects: only what every"
        " reader has read is ever deleted, and without any of the three everything is kept.",
        _DURATION,
    ),
    "max-bytes": Option(
        "Delete the oldest objects that were read while all together are larger.", {"type": "integer", "minimum": 1}
    ),
    "max-objects": Option(
        "Delete the oldest objects that were read while there are more.", {"type": "integer", "minimum": 1}
    ),
    "replay": Option(
        "Where a new reader begins: beginning, now, or a time (2026-01-31T00:00:00Z). When it changes, readers that"
        " were there before read once more what was written since. As {from, marker} another marker makes it another"
        " replay; skip-unread: true also passes over what lies before that point and was not read.",
        {
            "anyOf": [
                _POINT,
                {
                    "type": "object",
                    "properties": {
                        "from": _POINT,
                        "marker": {"type": "string", "maxLength": 100},
                        "skip-unread": _FLAG,
                    },
                    "required": ["from"],
                    "additionalProperties": False,
                },
            ]
        },
    ),
}
_STORES = {
    "bucket-name": Option("The bucket (s3, gcs) or container (azure-blob).", _TEXT, required=True),
    "store": Option("Which kind of store it is.", {"enum": ["s3", "gcs", "azure-blob"]}),
    "path": Option("A prefix inside the bucket.", _TEXT),
    "region": Option("The region of the bucket (s3).", _TEXT),
    "endpoint": Option("The address of the store when it is not the public one.", _TEXT),
    "access-key": Option("The access key, best as ${secret|SCOPE/NAME}.", _TEXT),
    "secret-key": Option("The secret key, best as ${secret|SCOPE/NAME}.", _TEXT),
    "security-token": Option("A session token (s3).", _TEXT),
    "role-arn": Option("The role to take on (s3).", _TEXT),
    "account": Option("The storage account (azure-blob).", _TEXT),
    "credentials": Option("The service-account key (gcs), best as ${secret|SCOPE/NAME}.", _TEXT),
}
OPTIONS: Mapping[Transport, Mapping[str, Option]] = {
    Transport.WORKER_CHANNEL: {
        "driver": Option(
            "What several consumers do: clone (each gets every event; the default) or standard (they share them).",
            {"enum": ["clone", "standard"]},
        ),
    },
    Transport.FILE_STORE: {
        "path": Option("The directory of the spool, on the worker's host.", _TEXT, required=True),
        **_SPOOL,
    },
    Transport.OBJECT_STORE: {**_STORES, **_SPOOL},
    Transport.JETSTREAM: {
        "stream": Option(
            "The stream of the tenant; one named after the deployment and channel when it is not given.",
            {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$"},
        ),
        "batch-size": Option("Most events in one message.", _COUNT),
        "retention": Option(
            "How long events are kept after they were written. Here and for max-bytes: only what every reader has read"
            " is ever deleted, and without either everything is kept.",
            _DURATION,
        ),
        "max-bytes": Option(
            "Delete the oldest events that were read while the stream is larger.", {"type": "integer", "minimum": 1}
        ),
        "replay": _SPOOL["replay"],
    },
}
