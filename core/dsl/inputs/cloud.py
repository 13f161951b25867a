"""The inputs s3, gcs and azure-blob: the objects of a bucket, each once or at every firing."""

from __future__ import annotations

from typing import ClassVar

from core.dsl.component import REGISTRY, Env
from core.dsl.inputs import lines
from core.dsl.inputs.objects import ObjectInput
from core.dsl.stores import Opener, cloud


@REGISTRY.register("s3")
class S3Input(cloud.S3Place, ObjectInput):
    """Read the objects of an S3 bucket, oldest first: one event for each line, or one for each object.

    An object that cannot be read or decoded is skipped, counted in the errors of the run and told in the log; it is
    tried again at the next firing. When the service cannot be reached, refuses us or has no such bucket, the job
    fails and is restarted. Needs the extra `s3`.
    """

    spellings: ClassVar = {**lines.TextInput.spellings, "bucket": "bucket-name"}
    example: ClassVar[str] = """
name: from-s3
input:
  s3:
    bucket-name: logs
    object-names: [2026/]
    region: eu-central-1
    access-key: "${dyn|S3_KEY}"
    secret-key: "${dyn|S3_SECRET}"
    fingerprinting: true
    preprocessors: [extension]
    trigger: {interval: 5m}
output: {print: STDOUT}
"""

    def opener(self, env: Env) -> Opener:
        return self.place(env)


@REGISTRY.register("gcs")
class GcsInput(cloud.GcsPlace, ObjectInput):
    """Read the objects of a bucket of Google Cloud Storage, oldest first: one event for each line or object.

    An object that cannot be read or decoded is skipped, counted in the errors of the run and told in the log; it is
    tried again at the next firing. When the service cannot be reached, refuses us or has no such bucket, the job
    fails and is restarted. Needs the extra `s3`.
    """

    spellings: ClassVar = {**lines.TextInput.spellings, "bucket": "bucket-name"}
    example: ClassVar[str] = """
name: from-gcs
input:
  gcs:
    bucket-name: analytics
    object-names: [exports/daily/]
    include-regex: ['\\.json(\\.gz)?$']
    fingerprinting: true
    credentials: {service-account: {key: "${dyn|GCS_READER}"}}
    preprocessors: [extension]
    trigger: {interval: 5m}
output: {print: STDOUT}
"""

    def opener(self, env: Env) -> Opener:
        return self.place(env)


@REGISTRY.register("azure-blob")
class AzureBlobInput(cloud.AzurePlace, ObjectInput):
    """Read the blobs of a container of Azure Blob Storage, oldest first: one event for each line or blob.

    A blob that cannot be read or decoded is skipped, counted in the errors of the run and told in the log; it is
    tried again at the next firing. When the service cannot be reached, refuses us or has no such container, the job
    fails and is restarted. Needs the extra `s3`.
    """

    spellings: ClassVar = {
        **lines.TextInput.spellings,
        **cloud.AzurePlace.spellings,
        "blob-names": "object-names",
    }
    example: ClassVar[str] = """
name: from-azure
input:
  azure-blob:
    container-name: logs
    storage-account: acme
    storage-master-key: "${dyn|AZURE_KEY}"
    fingerprinting: true
    trigger: {interval: 5m}
output: {print: STDOUT}
"""

    def opener(self, env: Env) -> Opener:
        return self.place(env)
