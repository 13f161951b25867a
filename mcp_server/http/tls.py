"""TLS of the server: a certificate of its own, or one that it signs itself at the first use."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core import clock, errors

DIRECTORY = "tls"  # in the home
VALID = timedelta(days=730)
RENEW = timedelta(days=30)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The PEM files of a certificate (with its chain) and of its key."""

    cert: Path
    key: Path

    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` writes it."""
        der = ssl.PEM_cert_to_DER_cert(self.cert.read_text(encoding="ascii").partition("-----END")[0] + _END)
        return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


_END = "-----END CERTIFICATE-----\n"


def given(cert: Path, key: Path) -> Certificate:
    """The certificate of an operator. Raises InvalidParams when the files are not a certificate and its key."""
    made = Certificate(cert, key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
        made.fingerprint()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise errors.InvalidParams(
            f"{cert} and {key} do not serve as certificate and key: {errors.shorten(str(error), 120)}.",
            hint="--tls-cert takes a PEM file with the certificate and its chain, --tls-key one with its key, "
            "without a password.",
        ) from None
    return made


def _no_password() -> bytes:
    raise ValueError("the key has a password")


def own(home: Path, names: Iterable[str], now_ns: int) -> Certificate:
    """The certificate that this server signs itself, for these host names and addresses besides the local ones.

    It is made at the first use, and anew when it is about to expire or lacks a name; until then it stays, so that
    clients can trust the file or its fingerprint.
    """
    made = Certificate(home / DIRECTORY / "cert.pem", home / DIRECTORY / "key.pem")
    wanted = sorted({*LOCAL_NAMES, socket.gethostname().lower(), *(name.strip("[]").lower() for name in names)})
    now = datetime.fromisoformat(clock.iso(now_ns))
    if not _serves(made, wanted, now):
        _make(made, wanted, now)
    return made


def _serves(made: Certificate, wanted: Iterable[str], now: datetime) -> bool:
    try:
        found = x509.load_pem_x509_certificate(made.cert.read_bytes())
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    has = {str(name.value) for name in alternative}
    return made.key.exists() and set(wanted) <= has and found.not_valid_after_utc - RENEW > now


def _make(made: Certificate, names: Iterable[str], now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sluice, self-signed")])
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of clients may be late
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made.cert.parent.mkdir(mode=0o700, exist_ok=True)
    _write(made.key, private)
    _write(made.cert, certificate.public_bytes(serialization.Encoding.PEM))


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.{clock.token(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    fresh.replace(path)
