"""Certificates of servers: sound ones, and such that a client must not believe."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Authority:
    """Who signs the certificates of these tests; `trusting` is a client that believes nobody else."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _certificate("test authority", key, "test authority", key, authority=True), folder)

    @property
    def trusting(self) -> ssl.SSLContext:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def serving(self, host: str, *, days: int = 1, self_signed: bool = False) -> ssl.SSLContext:
        """TLS of a server; with `days` below zero its certificate has ended."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, signer = (host, key) if self_signed else ("test authority", self.key)
        made = _certificate(host, key, issuer, signer, days=days)
        cert, private = self.folder / "cert.pem", self.folder / "key.pem"
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, private)
        return context


def _certificate(
    host: str, key: Any, issuer: str, signer: Any, *, days: int = 1, authority: bool = False
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    alternative: x509.GeneralName = x509.DNSName(host.replace(" ", "-"))
    if host[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(host))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(host))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return builder.sign(signer, hashes.SHA256())
