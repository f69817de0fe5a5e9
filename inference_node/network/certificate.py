"""The owner's own certificate for this PC, with which browsers may call it by name; read again when it is renewed."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

if TYPE_CHECKING:
    from pathlib import Path


class CertificateError(Exception):
    """The certificate can't be used; the message says why and what to do."""


class Certificate(NamedTuple):
    """A chain and its key, PEM files."""

    chain: Path
    key: Path

    @property
    def mark(self) -> tuple[int, ...]:
        """Another value after either file was replaced. Raises CertificateError."""
        try:
            stats = [path.stat() for path in self]
        except OSError as error:
            raise CertificateError(f"{error.filename} can't be read ({error.strerror}). Check its path.") from error
        return tuple(value for stat in stats for value in (stat.st_mtime_ns, stat.st_size, stat.st_ino))

    def names(self) -> list[str]:
        """Return the DNS names that it is for, without wildcards, which name no address. Raises CertificateError."""
        try:
            first = x509.load_pem_x509_certificates(self.chain.read_bytes())[0]
            alternatives = first.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        except x509.ExtensionNotFound:
            return []
        except (OSError, ValueError, IndexError) as error:
            raise CertificateError(f"{self.chain} is no certificate that can be read: {error}") from error
        if not isinstance(alternatives, x509.SubjectAlternativeName):
            return []
        names = alternatives.get_values_for_type(x509.DNSName)
        return [name.lower() for name in names if not name.startswith("*")]

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let new connections use it. Raises CertificateError."""
        try:
            context.load_cert_chain(self.chain, self.key)
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(f"{self.chain} and {self.key} don't make a certificate: {error}") from error


def tls_context() -> ssl.SSLContext:
    """Return the settings of a TLS server, without a certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
