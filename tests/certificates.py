"""Certificates of servers: sound ones, also to a client that verifies strictly (RFC 5280, as Python does from 3.13 on),
and such that no client may believe."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL = ("127.0.0.1", "localhost")
STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # what create_default_context sets from 3.13 on


@dataclass
class Certificate:
    """The PEM files of a certificate and its key."""

    cert: Path
    key: Path

    @property
    def trusting(self) -> ssl.SSLContext:
        """TLS of a client that trusts this certificate and no other."""
        return strict(ssl.create_default_context(cafile=str(self.cert)))

    @property
    def serving(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


@dataclass
class Authority:
    """Who signs the certificates of a test; `trusting` is a client that believes nobody else."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _sign("test authority", (), key, "test authority", key, authority=True), folder)

    @property
    def trusting(self) -> ssl.SSLContext:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return strict(ssl.create_default_context(cadata=pem))

    def serving(self, host: str, *, days: int = 1) -> ssl.SSLContext:
        """TLS of a server; with `days` below zero its certificate has ended."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _write(self.folder, _sign(host, (host,), key, "test authority", self.key, days=days), key).serving


def self_signed(folder: Path, *hosts: str) -> Certificate:
    """A certificate for 127.0.0.1 and localhost, or for other hosts, that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _write(folder, _sign("self-signed", hosts or LOCAL, key, "self-signed", key), key)


def strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, with what every client of Python 3.13 asks of a certificate."""
    context.verify_flags |= STRICT
    return context


def _write(folder: Path, made: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    folder.mkdir(parents=True, exist_ok=True)
    written = Certificate(folder / "cert.pem", folder / "key.pem")
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    written.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    written.key.write_bytes(private)
    return written


def _sign(
    subject: str,
    hosts: tuple[str, ...],
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    days: int = 1,
    authority: bool = False,
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def alternative(host: str) -> x509.GeneralName:
        return x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)

    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not authority:
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(
            x509.SubjectAlternativeName([alternative(host) for host in hosts]), critical=False
        )
        builder = builder.add_extension(both, critical=False)
    return builder.sign(signer, hashes.SHA256())
