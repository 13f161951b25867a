"""Dynamic variables in memory, as the store has them: what `${dyn|NAME}` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core import clock, errors
from core.model.principal import Caller
from core.store import audit
from core.store import variables as table
from core.store.database import Database

Tell = Callable[[str, str, str | None], None]
"""Called with (tenant, name, value) for every change; the value is None when the variable is gone."""


class Variables:
    """The variables of all tenants; `listeners` hear of a change after its commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._values: dict[tuple[str, str], str] = {}
        self.listeners: list[Tell] = []

    async def load(self) -> None:
        rows = await self._database.read(table.all_rows)
        self._values = {(row["tenant"], row["name"]): row["value"] for row in rows}

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return ((tenant, name, value) for (tenant, name), value in self._values.items())

    def get(self, tenant: str, name: str) -> str | None:
        return self._values.get((tenant, name))

    async def set(self, id: int, caller: Caller, name: str, value: str) -> int:
        """Keep a value and tell it: when that was, in ns. `id` is that of the audit row."""
        now = clock.now_ns()
        note = audit.row(id, caller, "variable_set", f"{caller.tenant}/{name}")
        await self._database.write(table.put, table.VariableRow(caller.tenant, name, value, now, caller.username), note)
        self.committed(caller.tenant, name, value)
        return now

    async def delete(self, id: int, caller: Caller, name: str) -> None:
        """Take a variable away and tell it. Raises NotFound."""
        note = audit.row(id, caller, "variable_delete", f"{caller.tenant}/{name}")
        if not await self._database.write(table.delete, caller.tenant, name, note):
            raise errors.NotFound(
                f"There is no variable {errors.shorten(name, 100)} in tenant {caller.tenant}.",
                hint="variable_list shows them.",
            )
        self.committed(caller.tenant, name, None)

    def committed(self, tenant: str, name: str, value: str | None) -> None:
        """A change is in the store: tell everyone who reads the variable."""
        if value is None:
            self._values.pop((tenant, name), None)
        else:
            self._values[tenant, name] = value
        for listener in self.listeners:
            listener(tenant, name, value)
