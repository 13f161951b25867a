"""The file-store output: one file for each event or group of events, complete or not there at all."""

from __future__ import annotations

from typing import ClassVar

from core.dsl.component import REGISTRY, Env
from core.dsl.language import places, templates
from core.dsl.outputs.objects import ObjectOutput
from core.dsl.stores import LocalStore, Opener
from core.guard import file_access


@REGISTRY.register("file-store")
class FileStoreOutput(ObjectOutput):
    """Write objects below a directory: each appears under its name in one step and is on the disk when it counts.

    An object holds one line for each event. Without `batch` every event is an object of its own. When the disk is
    full `retry` applies; then nothing of the object stays behind and the job fails and is restarted.
    """

    example: ClassVar[str] = """
name: to-store
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  file-store: {path: store, object-name: {name: "@{job}/part"}}
"""

    path: places.WrittenText
    """The root directory on the worker; it is made when missing."""

    def opener(self, env: Env) -> Opener:
        access, root = (
            file_access.FileAccess(env.limits.files, env.tenant),
            templates.template(self.path, env, required=True),
        )
        return lambda run: LocalStore(access, root({}, run))
