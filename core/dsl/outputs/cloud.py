"""The outputs s3, gcs and azure-blob: one object of a bucket for each event or group of events."""

from __future__ import annotations

from typing import ClassVar

from core.dsl.component import REGISTRY, Env
from core.dsl.outputs.objects import ObjectOutput
from core.dsl.stores import Opener, cloud


@REGISTRY.register("s3")
class S3Output(cloud.S3Place, ObjectOutput):
    """Write objects to an S3 bucket. An object is there completely or not at all, and counts when S3 has taken it.

    An object holds one line for each event. Without `batch` every event is an object of its own. When the service
    cannot be reached `retry` applies; then, and when it refuses us or has no such bucket, the job fails and is
    restarted. Needs the extra `s3`.
    """

    spellings: ClassVar = {"bucket": "bucket-name"}
    example: ClassVar[str] = """
name: to-s3
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  s3:
    bucket-name: logs
    region: eu-central-1
    access-key: "${dyn|S3_KEY}"
    secret-key: "${dyn|S3_SECRET}"
    object-name: {name: "@{job}/batch-${stat|_BATCH_NUMBER}"}
    guid-prefix: "-"
    guid-suffix: .json.gz
    batch: {mode: document}
    preprocessors: [gzip]
"""

    def opener(self, env: Env) -> Opener:
        return self.place(env)


@REGISTRY.register("gcs")
class GcsOutput(cloud.GcsPlace, ObjectOutput):
    """Write objects to a bucket of Google Cloud Storage; each is there completely or not at all.

    An object holds one line for each event. Without `batch` every event is an object of its own. When the service
    cannot be reached `retry` applies; then, and when it refuses us or has no such bucket, the job fails and is
    restarted. Needs the extra `s3`.
    """

    spellings: ClassVar = {"bucket": "bucket-name"}
    example: ClassVar[str] = """
name: to-gcs
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  gcs:
    bucket-name: analytics
    credentials: {service-account: {key: "${dyn|GCS_WRITER}"}}
    object-name: {name: "@{job}/part"}
    batch: {fixed-size: 500, timeout: 10s}
"""

    def opener(self, env: Env) -> Opener:
        return self.place(env)


@REGISTRY.register("azure-blob")
class AzureBlobOutput(cloud.AzurePlace, ObjectOutput):
    """Write blobs to a container of Azure Blob Storage; each is there completely or not at all.

    A blob holds one line for each event. Without `batch` every event is a blob of its own. When the service cannot be
    reached `retry` applies; then, and when it refuses us or has no such container, the job fails and is restarted.
    Needs the extra `s3`.
    """

    example: ClassVar[str] = """
name: to-azure
input: {echo: {event: '{"hello": "world"}', json: true}}
output:
  azure-blob:
    container-name: logs
    storage-account: acme
    storage-master-key: "${dyn|AZURE_KEY}"
    object-name: {name: "@{job}/part"}
    batch: {fixed-size: 500, timeout: 10s}
"""

    def opener(self, env: Env) -> Opener:
        return self.place(env)
