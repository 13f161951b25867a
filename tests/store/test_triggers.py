"""The table of triggers, as it comes from the version before."""

from __future__ import annotations

from pathlib import Path

import sqlite_utils

from core.store import migrations, triggers


def test_triggers_that_were_deactivated_before_say_by_whom(tmp_path: Path) -> None:
    db = sqlite_utils.Database(tmp_path / "sluice.db")
    migrations.STEPS.apply(db, stop_before="m0026_deactivations")
    row = "INSERT INTO triggers VALUES (?, 't', ?, 1, ?, '{}', 1, 'ada')"
    for id, slug, active in ((1, "on", 1), (2, "off", 0), (3, "lost", 0)):
        db.conn.execute(row, (id, slug, active))
    deed = "INSERT INTO audit VALUES (?, 't', ?, 'admin', 'cli', ?, ?, 't/off', '')"
    for id, username, operation, decision in (
        (5, "bob", "trigger_deactivate", "allowed"),
        (6, "eve", "trigger_deactivate", "forbidden"),
        (7, "ada", "trigger_invoke", "allowed"),
    ):
        db.conn.execute(deed, (id, username, operation, decision))
    db.conn.commit()
    migrations.migrate(db)
    found = {one["slug"]: (one["deactivated_at_ns"], one["deactivated_by"]) for one in triggers.current(db)}
    assert found == {"on": (None, None), "off": (5, "bob"), "lost": (None, None)}
    db.close()
