"""Stores of whole objects under names: a directory of the worker, a bucket of S3, GCS or Azure, or a WebDAV server."""

from __future__ import annotations

from core.dsl.stores.base import MOST_OBJECTS, NamesRefused, Object, Opener, Store, StoreFault, Writable
from core.dsl.stores.local import LocalStore

__all__ = ["MOST_OBJECTS", "LocalStore", "NamesRefused", "Object", "Opener", "Store", "StoreFault", "Writable"]
