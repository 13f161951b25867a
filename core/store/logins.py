"""People whom a provider has vouched for, and their logins: what the credentials of a sign-in hang on.

A person is (issuer, subject) and nothing else; the user name in our records is chosen at the first login and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import orjson
from sqlite_utils import Database

from core.model.binding import Binding
from core.store import audit, role_bindings
from core.store.audit import AuditRow
from core.store.rows import insertion, upsertion


class Person(NamedTuple):
    """Who signs in; name and address are for display alone."""

    issuer: str
    subject: str
    username: str
    display_name: str
    email: str
    first_at_ns: int
    last_at_ns: int


class Login(NamedTuple):
    """One sign-in: what the provider said of groups and when; `renewal` is its refresh token, sealed."""

    id: str
    issuer: str
    subject: str
    session: str
    """The provider's own id of its session (`sid`), empty when it tells none."""
    groups: tuple[str, ...]
    read_at_ns: int
    renewal: bytes | None
    created_at_ns: int
    ended_at_ns: int | None = None
    ended_because: str = ""


_PEOPLE = f"SELECT {', '.join(Person._fields)} FROM people"
_KEEP = upsertion("people", Person._fields, ("issuer", "subject"))
_INSERT = insertion("logins", Login)
_SELECT = f"SELECT {', '.join(Login._fields)} FROM logins"


def _logins(db: Database, where: str, values: Iterable[object] = ()) -> list[Login]:
    rows = [dict(zip(Login._fields, row, strict=True)) for row in db.conn.execute(f"{_SELECT} {where}", tuple(values))]
    return [Login(**{**row, "groups": tuple(orjson.loads(row["groups"]))}) for row in rows]


def person(db: Database, issuer: str, subject: str) -> Person | None:
    found = db.conn.execute(f"{_PEOPLE} WHERE issuer = ? AND subject = ?", (issuer, subject))
    return next((Person(*row) for row in found), None)


def by_username(db: Database, username: str) -> Person | None:
    return next((Person(*row) for row in db.conn.execute(f"{_PEOPLE} WHERE username = ?", (username,))), None)


def taken(db: Database, username: str) -> bool:
    """Whether a user name is somebody's, with a key or with a login."""
    keys = db.table("tokens").count_where("username = ?", [username])
    return bool(keys) or by_username(db, username) is not None


def begin(
    db: Database,
    who: Person,
    login: Login,
    name: Callable[[Callable[[str], bool]], str],
    note: Callable[[str], AuditRow],
) -> Person:
    """Keep a login and its person, whose user name is the earlier one, or what `name` makes of whether one is taken.
    `note` makes the audit row for a user name."""
    known = person(db, who.issuer, who.subject)
    username = known.username if known is not None else name(lambda wanted: taken(db, wanted))
    first = who.first_at_ns if known is None else known.first_at_ns
    kept = who._replace(username=username, first_at_ns=first)
    db.conn.execute(_KEEP, kept)
    row = {**login._asdict(), "groups": orjson.dumps(login.groups).decode()}
    db.conn.execute(_INSERT, tuple(row.values()))
    audit.insert(db, note(username))
    return kept


def keep_person(
    db: Database, who: Person, name: Callable[[Callable[[str], bool]], str], note: Callable[[str], AuditRow]
) -> Person:
    """Keep a person who was not seen before, as `begin` does, without a login; who he is."""
    known = person(db, who.issuer, who.subject)
    if known is not None:
        return known
    kept = who._replace(username=name(lambda wanted: taken(db, wanted)))
    db.conn.execute(_KEEP, kept)
    audit.insert(db, note(kept.username))
    return kept


def find(db: Database, id: str) -> Login | None:
    return next(iter(_logins(db, "WHERE id = ?", (id,))), None)


def due(db: Database, read_before_ns: int, now_ns: int, most: int) -> list[Login]:
    """Logins whose groups were read before a time and that a credential still hangs on, the oldest first."""
    held = (
        "EXISTS (SELECT 1 FROM tokens WHERE tokens.login = logins.id AND revoked_at_ns IS NULL"
        " AND (expires_at_ns IS NULL OR expires_at_ns > ?))"
    )
    where = (
        f"WHERE ended_at_ns IS NULL AND renewal IS NOT NULL AND read_at_ns < ? AND {held} ORDER BY read_at_ns LIMIT ?"
    )
    return _logins(db, where, (read_before_ns, now_ns, most))


def renew(db: Database, id: str, groups: tuple[str, ...], read_at_ns: int, renewal: bytes | None) -> None:
    """Keep what the provider said anew."""
    db.conn.execute(
        "UPDATE logins SET groups = ?, read_at_ns = ?, renewal = ? WHERE id = ?",
        (orjson.dumps(groups).decode(), read_at_ns, renewal, id),
    )


def open_of(db: Database, issuer: str, subject: str, session: str) -> list[str]:
    """The logins that were not ended: of a session of the provider, or without one of a person."""
    where = "issuer = ? AND ended_at_ns IS NULL AND (session = ? OR ? = '') AND (subject = ? OR ? = '')"
    found = db.conn.execute(f"SELECT id FROM logins WHERE {where}", (issuer, session, session, subject, subject))
    return [id for (id,) in found]


def end(db: Database, ids: list[str], at_ns: int, because: str, audit_rows: list[AuditRow]) -> None:
    """End logins, with all credentials that hang on them; the refresh tokens go."""
    for id in ids:
        db.conn.execute(
            "UPDATE logins SET ended_at_ns = ?, ended_because = ?, renewal = NULL WHERE id = ? AND ended_at_ns IS NULL",
            (at_ns, because, id),
        )
        db.conn.execute("UPDATE tokens SET revoked_at_ns = ? WHERE login = ? AND revoked_at_ns IS NULL", (at_ns, id))
    audit.insert(db, *audit_rows)


def prune(db: Database, before_ns: int) -> int:
    """Forget logins that ended, or that no credential hangs on any more, before a time."""
    return db.conn.execute(
        "DELETE FROM logins WHERE created_at_ns < ? AND NOT EXISTS (SELECT 1 FROM tokens WHERE tokens.login = logins.id"
        " AND revoked_at_ns IS NULL AND (expires_at_ns IS NULL OR expires_at_ns > ?))",
        (before_ns, before_ns),
    ).rowcount


def bindings_of(db: Database, login: Login) -> list[Binding]:
    """The role bindings of the person and of the groups of a login."""
    return role_bindings.of_person(db, login.issuer, login.subject, list(login.groups))
