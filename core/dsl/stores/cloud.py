"""Where a bucket is and who we are there: the keys that the inputs and outputs of each cloud share.

Credentials are best given as `${secret|scope/name}`. A place without them acts as the operator, which takes the setting
cloud_credentials: then the default chain of the provider counts, which is variables of the operator's environment and
files that they name, then the metadata service, a link-local address that the setting egress_allow has to open. It
never counts for a service whose address the document names, which would be shown the operator's signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from core.dsl.component import Config, Env, Run
from core.dsl.connections import http_auth
from core.dsl.language import templates
from core.dsl.stores.base import Opener, Store
from core.dsl.stores.remote import Kind, RemoteStore, load
from core.dsl.stores.sts import assumed_role
from core.errors import Forbidden, JobFailed
from core.guard import addresses

OPERATOR = {  # provider -> the variables of the operator's environment that stand for it where a document names nobody
    "AWS_": (
        *("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "ROLE_ARN", "ROLE_SESSION_NAME"),
        *("WEB_IDENTITY_TOKEN_FILE", "CONTAINER_CREDENTIALS_RELATIVE_URI", "CONTAINER_CREDENTIALS_FULL_URI"),
        *("CONTAINER_AUTHORIZATION_TOKEN_FILE", "IMDSV1_FALLBACK", "METADATA_ENDPOINT"),
        *("REGION", "DEFAULT_REGION", "ENDPOINT_URL", "ENDPOINT_URL_STS"),
    ),
    "GOOGLE_": ("APPLICATION_CREDENTIALS", "SERVICE_ACCOUNT", "SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT_KEY"),
    "AZURE_": (
        *("STORAGE_ACCOUNT_KEY", "STORAGE_SAS_TOKEN", "STORAGE_TOKEN", "TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"),
        *("FEDERATED_TOKEN_FILE", "AUTHORITY_HOST"),
    ),
}
_OF_ONE_ACCOUNT = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN")
_NOBODY = "name them in the document, best as ${secret|scope/name}"
Endpoint = http_auth.Url
Settings = Mapping[str, str]


class Place(Config):
    """What the places of all clouds have in common."""

    def names_credentials(self) -> bool:
        """Whether the document itself says who we are."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _no_service_of_a_document_sees_the_operator(self) -> Self:
        if getattr(self, "endpoint", None) is not None and not self.names_credentials():
            raise ValueError(f"an endpoint comes with credentials of its own: {_NOBODY}")
        return self


class S3Place(Place):
    """A bucket of S3, or of a service that speaks its protocol."""

    bucket_name: templates.Text = Field(min_length=1)
    """The bucket."""
    region: templates.Text | None = None
    """The region; us-east-1 when neither this nor the environment of the worker names one."""
    endpoint: Endpoint | None = None
    """The address of a service other than AWS, such as MinIO. An address that is private or local needs the setting
    egress_allow."""
    access_key: templates.Text | None = None
    """The id of the access key. Left out: what the operator's environment or the metadata service gives, with the
    setting cloud_credentials, and not with an endpoint."""
    secret_key: templates.Text | None = None
    """The secret of the access key."""
    session_token: templates.Text | None = None
    """The token of temporary credentials."""
    security_token: templates.Text | None = None
    """The older name of session-token."""
    role_arn: templates.Text | None = None
    """A role to take on: with the access key, or without one with the web identity of the operator."""

    def names_credentials(self) -> bool:
        return self.access_key is not None

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access-key and secret-key come together")
        if self.session_token is not None and self.security_token is not None:
            raise ValueError("session-token and security-token are two names of one thing; keep one")
        if self.session_token or self.security_token:
            if self.access_key is None:
                raise ValueError("a session token comes with access-key and secret-key")
        return self

    def place(self, env: Env) -> Opener:
        """The opener of this bucket."""
        texts = {
            "bucket": self.bucket_name,
            "region": self.region,
            "endpoint": self.endpoint,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "session_token": self.session_token or self.security_token,
            "role_arn": self.role_arn,
        }

        def make(settings: Settings) -> Store:
            config = {**settings, **_operator(self, "AWS_", settings, env)}
            bucket = config.pop("bucket")
            credentials: Callable[[], Any] | None = None
            if "role_arn" in config and "access_key_id" in config:
                credentials = assumed_role(config, env.limits.egress_allow)
            endpoint = config.get("endpoint") or config.get("AWS_ENDPOINT_URL", "")
            return _remote("S3Store", "s3", bucket, config, endpoint, env, credentials)

        return _opener(texts, make, env)


class ServiceAccount(Config):
    """A service account of Google Cloud."""

    scalar = "key"

    key: templates.Text
    """Its key as JSON; give it as `${secret|…}`, not as text."""


class GcsCredentials(Config):
    """Who we are for Google Cloud Storage: exactly one of the keys. A bare text is the key of a service account."""

    scalar = "service-account"

    service_account: ServiceAccount | None = None
    """A service account with its key."""
    application_default: dict[str, Any] | None = None
    """`{}`: the application default credentials of the operator, as if credentials were left out."""
    token: templates.Text | None = None
    """An access token."""
    anonymous: bool = False
    """No credentials, for buckets that are public."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("credentials has exactly one of service-account, application-default, token and anonymous")
        return self


class GcsPlace(Place):
    """A bucket of Google Cloud Storage."""

    bucket_name: templates.Text = Field(min_length=1)
    """The bucket; `gs://bucket` is the same."""
    endpoint: Endpoint | None = None
    """The address of a service other than Google's, such as an emulator."""
    credentials: GcsCredentials | None = None
    """Who we are; left out: the application default credentials of the operator, from the environment or the metadata
    service, with the setting cloud_credentials, and not with an endpoint."""

    def names_credentials(self) -> bool:
        return self.credentials is not None and self.credentials.application_default is None

    def place(self, env: Env) -> Opener:
        """The opener of this bucket."""
        who = self.credentials or GcsCredentials(anonymous=False)
        texts = {
            "bucket": self.bucket_name.removeprefix("gs://").rstrip("/"),
            "base_url": self.endpoint,
            "service_account_key": who.service_account.key if who.service_account is not None else None,
            "bearer_token": who.token,
        }

        def make(settings: Settings) -> Store:
            config: dict[str, Any] = {**settings, **_operator(self, "GOOGLE_", settings, env)}
            bucket = config.pop("bucket")
            if who.anonymous:
                config["skip_signature"] = True
            return _remote("GCSStore", "gs", bucket, config, config.get("base_url", ""), env)

        return _opener(texts, make, env)


class AzurePlace(Place):
    """A container of Azure Blob Storage."""

    spellings: ClassVar = {
        "container": "container-name",
        "bucket-name": "container-name",
        "account-name": "storage-account",
        "account-key": "storage-master-key",
    }

    container_name: templates.Text = Field(min_length=1)
    """The container."""
    storage_account: templates.Text = Field(min_length=1)
    """The storage account."""
    storage_master_key: templates.Text | None = None
    """A key of the account. Without any credentials: what the operator's environment or the metadata service gives,
    with the setting cloud_credentials, and not with an endpoint."""
    sas_token: templates.Text | None = None
    """A shared access signature instead of the key."""
    tenant_id: templates.Text | None = None
    """The tenant of a service principal."""
    client_id: templates.Text | None = None
    """The id of a service principal, or of a managed identity."""
    client_secret: templates.Text | None = None
    """The secret of a service principal."""
    endpoint: Endpoint | None = None
    """The address of a service other than Azure's, such as an emulator."""

    def names_credentials(self) -> bool:
        return bool(self.storage_master_key or self.sas_token or self.client_secret)

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        if self.storage_master_key is not None and self.sas_token is not None:
            raise ValueError("there can be one of storage-master-key and sas-token")
        if self.client_secret is not None and (self.client_id is None or self.tenant_id is None):
            raise ValueError("client-secret comes with client-id and tenant-id")
        return self

    def place(self, env: Env) -> Opener:
        """The opener of this container."""
        texts = {
            "bucket": self.container_name,
            "account_name": self.storage_account,
            "account_key": self.storage_master_key,
            "sas_key": self.sas_token,
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "endpoint": self.endpoint,
        }

        def make(settings: Settings) -> Store:
            config = {**settings, **_operator(self, "AZURE_", settings, env)}
            bucket = config.pop("bucket")
            return _remote("AzureStore", "az", bucket, config, config.get("endpoint", ""), env)

        return _opener(texts, make, env)


def _operator(place: Place, provider: str, settings: Settings, env: Env) -> Settings:
    """What stands for a document that does not say who we are.

    Raises Forbidden unless the operator has allowed to act as the operator.
    """
    if place.names_credentials():
        return {}
    given = env.limits.cloud
    if given is None:
        raise Forbidden(
            "the document names no credentials, and those of the operator need the setting cloud_credentials",
            hint=f"{_NOBODY}; or let jobs act as the operator: the setting cloud_credentials where the worker runs",
        )
    wanted = {name: given[name] for short in OPERATOR[provider] if (name := provider + short) in given}
    if given.get("AZURE_STORAGE_ACCOUNT_NAME", settings.get("account_name")) != settings.get("account_name"):
        wanted = {name: value for name, value in wanted.items() if name not in _OF_ONE_ACCOUNT}
    return {name: value for name, value in wanted.items() if name.removeprefix(provider).lower() not in settings}


def _opener(texts: Mapping[str, str | None], make: Callable[[Settings], Store], env: Env) -> Opener:
    """Fills in the templates for each run; the store is kept as long as they give the same."""
    load()  # a job that needs what is not installed fails when it opens, and not when the first object comes
    fills = {name: templates.template(text, env) for name, text in texts.items() if text is not None}
    known: tuple[Settings, Store] | None = None

    def store_of(run: Run) -> Store:
        nonlocal known
        settings = {name: fill({}, run) for name, fill in fills.items()}
        empty = [name for name, value in settings.items() if not value]
        if empty:
            raise JobFailed(f"the setting {empty[0].replace('_', '-')} of the object store is an empty text")
        if known is None or known[0] != settings:
            known = (settings, make(settings))
        return known[1]

    return store_of


def _remote(
    kind: Kind,
    scheme: str,
    bucket: str,
    config: Mapping[str, Any],
    endpoint: str,
    env: Env,
    credentials: Callable[[], Any] | None = None,
) -> Store:
    if endpoint:
        addresses.check_url(endpoint)
    return RemoteStore(
        kind,
        bucket,
        config,
        where=f"{scheme}://{bucket}",
        plain_http=endpoint.lower().startswith("http://"),
        allow=env.limits.egress_allow,
        credentials=credentials,
    )
