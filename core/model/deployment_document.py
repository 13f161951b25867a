"""The document `kind: deployment`: what should run, written down to be reviewed and applied from a file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from core.model.catalog import CatalogModel, Name

Source = Annotated[str, StringConstraints(pattern=r"^(?:blueprint|workflow):[a-z0-9][a-z0-9_-]*(?:@[0-9A-Za-z.+-]+)?$")]
Copies = Annotated[int, Field(ge=1, le=1024)]


class DeploymentDocument(CatalogModel):
    """One deployment as a file says it should be."""

    kind: Literal["deployment"] = "deployment"
    name: Name
    """The deployment."""
    tenant: str = Field(default="", max_length=64)
    """The tenant that it belongs to; the caller's when left out."""
    environment: str = Field(default="", max_length=63)
    """The environment that it is meant for, e.g. dev or prod."""
    source: Source
    """What to deploy: workflow:SLUG[@VERSION] or blueprint:SLUG[@VERSION]."""
    worker_group: Name = "default"
    """The worker group for steps that name none."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Answers to the wizard fields, or parameters of a blueprint."""
    placement: dict[str, Name] = Field(default_factory=dict)
    """Step -> worker group, over what the workflow says."""
    replicas: dict[str, Copies] = Field(default_factory=dict)
    """Step -> number of copies, over what the workflow says."""
