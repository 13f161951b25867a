"""Outputs: where the events of a job go.

What there is, and the module that declares it: imported when a job first needs it (core.dsl.component.Registry).
"""

from __future__ import annotations

COMPONENTS = {
    "azure-blob": "cloud",
    "discard": "discard",
    "dispatch": "dispatch",
    "elasticsearch": "elasticsearch",
    "file": "file",
    "file-store": "file_store",
    "gcs": "cloud",
    "http-get": "http_get",
    "http-post": "http_post",
    "http-server": "http_server",
    "jetstream": "jetstream",
    "kafka": "kafka",
    "message": "message",
    "print": "print",
    "respond": "respond",
    "s3": "cloud",
    "splunk-hec": "splunk_hec",
    "web-dav-store": "web_dav_store",
    "worker-channel": "worker_channel",
}
