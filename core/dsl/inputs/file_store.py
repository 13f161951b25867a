"""The file-store input: the objects below a directory of the worker, each once or at every firing."""

from __future__ import annotations

from typing import Annotated, ClassVar

from core.dsl.component import REGISTRY, Env
from core.dsl.files.links import Links
from core.dsl.inputs.objects import ObjectInput
from core.dsl.language import places, templates
from core.dsl.stores import LocalStore, Opener
from core.guard import file_access


@REGISTRY.register("file-store")
class FileStoreInput(ObjectInput):
    """Read the objects (files) below a directory, oldest first: one event for each line, or one for each object.

    An object that cannot be read or decoded is skipped, counted in the errors of the run and told in the log; it is
    tried again at the next firing. What was read of it before the fault has been delivered. Bytes that are not UTF-8
    are replaced and counted; with `json` a line that is no object stays text in `_raw` and is counted. A symbolic
    link is not followed: it is skipped and counted, once a firing.
    """

    example: ClassVar[str] = """
name: from-store
input:
  file-store: {path: store, json: true, fingerprinting: true, trigger: {interval: 5s}}
output: {print: STDOUT}
"""

    path: Annotated[templates.Text, places.FilePath(writes_with="retention")]
    """The root directory on the worker."""

    def opener(self, env: Env) -> Opener:
        access, root = file_access.FileAccess(env.limits.files, env.tenant), templates.template(self.path, env)
        links = Links(env, "file-store")
        return lambda run: LocalStore(access, root({}, run), links)
