"""The id of a workload says whose it is, and nothing else is read as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.model.workload import id_of, parse

TENANTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
JOBS = st.from_regex(r"[a-z0-9][a-z0-9_./-]{0,20}", fullmatch=True)


@given(TENANTS, JOBS, st.integers(0, 10_000))
def test_an_id_is_read_as_it_was_made(tenant: str, job: str, replica: int) -> None:
    found = parse(id_of(tenant, job, replica))
    assert found == (tenant, job, str(replica))
    assert found.group == (tenant, job)
    assert found.reader == f"{tenant}/{job}"
    assert found.name == f"{job}#{replica}"
