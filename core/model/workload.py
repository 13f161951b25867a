"""The id of a workload, which is one replica of a job: `TENANT/JOB#REPLICA`. It is written and read here alone."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class WorkloadId(NamedTuple):
    """What an id says. A name of a tenant has no `/`, a name of a job no `#`."""

    tenant: str
    job: str
    replica: str

    @property
    def group(self) -> tuple[str, str]:
        """The tenant and the job: what all replicas have in common, under which the bus delivers to them."""
        return self.tenant, self.job

    @property
    def reader(self) -> str:
        """Under which name its job reads channels."""
        return f"{self.tenant}/{self.job}"

    @property
    def name(self) -> str:
        """The id as its tenant writes it."""
        return f"{self.job}#{self.replica}"


def id_of(tenant: str, job: str, replica: int) -> str:
    return f"{tenant}/{job}#{replica}"


@lru_cache(maxsize=4096)  # it is asked with each frame of a worker
def parse(id: str) -> WorkloadId:
    """The parts of an id; those that it lacks are empty."""
    tenant, _, rest = id.partition("/")
    job, _, replica = rest.rpartition("#")
    return WorkloadId(tenant, job, replica)
