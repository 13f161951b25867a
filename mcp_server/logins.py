"""The logins of this user: one short-lived token for each address and profile, in a file that only the user can read.

`sluice login` writes it; commands and MCP servers read it, and never prompt.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from core import clock, errors

FILE = "logins.json"
MOST = 200


@dataclass(frozen=True, slots=True)
class Login:
    """A cached login. `expires_at_ns` is when the token ends."""

    url: str
    profile: str
    token: str
    username: str
    expires_at_ns: int


def directory() -> Path:
    """The configuration directory: $XDG_CONFIG_HOME/sluice, or ~/.config/sluice."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "sluice"


def address(url: str) -> str:
    """The address of an engine in the one form that is compared: scheme, host and path, without a last slash.

    Raises InvalidParams for what is no http(s) address, or holds a user, password, query or fragment.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        odd = parts.username is not None or parts.password is not None or parts.query or parts.fragment
    except ValueError:
        fine, odd = False, ""
    if not fine or odd or not text.isprintable() or " " in text:
        raise errors.InvalidParams(
            "The address of the engine is not one." if not fine else "The address of the engine holds too much.",
            hint="Write it like https://host:3000, without user, password, query or fragment.",
            errors=[errors.Problem("/url", "must be http:// or https:// with a host, and nothing after the path")],
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def find(url: str, profile: str, now_ns: int) -> Login:
    """The login for exactly this address and profile.

    Raises Unauthenticated, with what is there instead, when there is none or it has expired.
    """
    known = _read(directory() / FILE)
    for login in known:
        if (login.url, login.profile) == (url, profile):
            if login.expires_at_ns > now_ns:
                return login
            raise logged_out(f"The login for {_named(url, profile)} expired at {clock.iso(login.expires_at_ns)}.", url)
    if any(login.url == url for login in known):
        profiles = ", ".join(sorted(login.profile or "(none)" for login in known if login.url == url))
        raise logged_out(f"There is no login for {_named(url, profile)}; profiles of that address: {profiles}.", url)
    urls = ", ".join(sorted({login.url for login in known})) or "none"
    raise logged_out(f"There is no login for {_named(url, profile)}; addresses with one: {urls}.", url)


def logged_out(why: str, url: str) -> errors.Unauthenticated:
    """The error of a session without a valid login; its hint names the three causes that there are."""
    return errors.Unauthenticated(
        f"Logged out. {why}",
        hint="A login counts for exactly one --url and one --profile until it expires: compare both, or log in again "
        f"with: sluice login {url} --api-key-file FILE. --api-key or --jwt work without a login.",
    )


def save(login: Login) -> Path:
    """Keep a login in place of the one with the same address and profile; returns the file."""
    with _locked() as path:
        known = [one for one in _read(path) if (one.url, one.profile) != (login.url, login.profile)]
        _write(path, [*known[-MOST + 1 :], login])
    return path


def forget(url: str | None, profile: str | None) -> int:
    """Forget logins: of an address (None: of all) and a profile (None: of all). Returns how many there were."""
    with _locked() as path:
        known = _read(path)
        kept = [one for one in known if url not in (None, one.url) or profile not in (None, one.profile)]
        if len(kept) < len(known):
            _write(path, kept)
    return len(known) - len(kept)


def _named(url: str, profile: str) -> str:
    return f"{url} with the profile {errors.shorten(profile, 60)}" if profile else f"{url} without a profile"


@contextmanager
def _locked() -> Iterator[Path]:
    """The file while nobody else changes it."""
    place = directory()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(place / (FILE + ".lock"), flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield place / FILE
    finally:
        os.close(handle)


def _read(path: Path) -> list[Login]:
    try:
        with path.open("rb") as file:
            mode, raw = os.fstat(file.fileno()).st_mode, file.read()
    except FileNotFoundError:
        return []
    if stat.S_IMODE(mode) & 0o077:
        raise errors.Forbidden(
            f"Others can read the logins in {path} (mode {stat.S_IMODE(mode):04o}), so they are not used.",
            hint=f"Remove the file, revoke the keys behind it, and log in again; or: chmod 600 {path}",
        )
    try:
        return [
            Login(str(o["url"]), str(o["profile"]), str(o["token"]), str(o["username"]), int(o["expires_at_ns"]))
            for o in orjson.loads(raw)["logins"]
        ]
    except (ValueError, KeyError, TypeError):
        raise errors.InvalidDocument(
            f"The logins in {path} cannot be read.", hint="Remove the file and log in again."
        ) from None


def _write(path: Path, logins: list[Login]) -> None:
    fresh = path.with_name(f"{path.name}.{clock.token(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(orjson.dumps({"logins": [asdict(login) for login in logins]}, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
