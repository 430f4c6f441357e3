"""A small certificate authority for trials; a platform with a CA of its own registers that one's certificates instead.

Trust here is chain *and* registered fingerprint *and* not revoked, so a certificate alone opens nothing.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proto.channel import Identity, identity_of_pem
from proto.errors import Refused
from proto.signing import PLATFORM_URI

NODE_URI: Final = "urn:exchange:node:"
OPERATOR_URI: Final = "urn:exchange:operator:"
PERSON_URI: Final = "urn:exchange:person:"
CA_DAYS: Final = 3650
SERVER_DAYS: Final = 365
NODE_DAYS: Final = 90
OPERATOR_DAYS: Final = 365
PLATFORM_DAYS: Final = 3650
"""Long, because what it signed must be checked for years."""
_CLOCK_SLACK: Final = timedelta(minutes=5)
"""A certificate begins a little early, for machines whose clock is behind."""
_MAX_COMMON_NAME: Final = 64
_Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes

    @property
    def identity(self) -> Identity:
        """What the certificate says."""
        return identity_of_pem(self.certificate)

    def write(self, certificate: Path, key: Path) -> None:
        """Put both into new files that only their owner can read; raises Refused rather than overwrite."""
        write_new(key, self.key)
        write_new(certificate, self.certificate)


@dataclass(frozen=True, slots=True)
class Authority:
    """An issuing certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Authority:
        """Read the authority back from its files; raises Refused."""
        try:
            loaded = load_pem_private_key(key.read_bytes(), None)
            authority = x509.load_pem_x509_certificate(certificate.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise Refused(
                f"the issuing certificate or key cannot be read: {error}", where=str(key)
            ) from error
        if (
            not isinstance(loaded, ec.EllipticCurvePrivateKey)
            or loaded.public_key() != authority.public_key()
        ):
            raise Refused(f"the key does not belong to {certificate}", where=str(key))
        return cls(authority, loaded)

    @property
    def pem(self) -> bytes:
        """The certificate that everybody may know."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue_server(
        self, names: Sequence[str], days: int = SERVER_DAYS, start: datetime | None = None
    ) -> Issued:
        """For central itself, reachable under *names*: host names and IP addresses."""
        if not names:
            raise Refused(
                "a server certificate needs at least one name", fix="give the name nodes will connect to"
            )
        return self._issue(
            names[0], [_host(name) for name in names], ExtendedKeyUsageOID.SERVER_AUTH, days, start
        )

    def issue_node(self, name: str, days: int = NODE_DAYS, start: datetime | None = None) -> Issued:
        """For the node *name*."""
        uri = x509.UniformResourceIdentifier(NODE_URI + name)
        return self._issue(name, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, days, start)

    def issue_operator(self, name: str, days: int = OPERATOR_DAYS, start: datetime | None = None) -> Issued:
        """For the operator *name*."""
        uri = x509.UniformResourceIdentifier(OPERATOR_URI + name)
        return self._issue(name, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, days, start)

    def issue_person(self, name: str, days: int = OPERATOR_DAYS, start: datetime | None = None) -> Issued:
        """For a person who decides."""
        uri = x509.UniformResourceIdentifier(PERSON_URI + name)
        return self._issue(name, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, days, start)

    def issue_platform(self, name: str, days: int = PLATFORM_DAYS, start: datetime | None = None) -> Issued:
        """For what the platform signs; opens no connection."""
        key = ed25519.Ed25519PrivateKey.generate()
        uri = x509.UniformResourceIdentifier(PLATFORM_URI + quote(name))
        begin = start or datetime.now(UTC)
        builder = (
            _builder(_name(name), self.certificate.subject, key, begin, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        )
        return Issued(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM), _key_pem(key))

    def _issue(
        self,
        common_name: str,
        names: Sequence[x509.GeneralName],
        use: x509.ObjectIdentifier,
        days: int,
        start: datetime | None,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        begin = start or datetime.now(UTC)
        builder = (
            _builder(_name(common_name), self.certificate.subject, key, begin, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        return Issued(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM), _key_pem(key))


def make_authority(organisation: str, days: int = CA_DAYS, start: datetime | None = None) -> Authority:
    """A new authority with a key nobody else has; its name may be in any script."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(organisation)
    builder = (
        _builder(subject, subject, key, start or datetime.now(UTC), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def save_authority(authority: Authority, certificate: Path, key: Path) -> None:
    """Put a new authority into new files; raises Refused rather than overwrite."""
    Issued(authority.pem, _key_pem(authority.key)).write(certificate, key)


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that was not there, readable as *mode* says from its first byte on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise Refused(
            "is there already and is not overwritten", where=str(path), fix="move it away first"
        ) from error
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", where=str(path)) from error


def hosts_in(certificate: Path) -> list[str]:
    """The host names and addresses a certificate is good for; raises Refused."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError) as error:
        raise Refused(f"the certificate cannot be read: {error}", where=str(certificate)) from error
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: _Key, begin: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _CLOCK_SLACK)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    if not 0 < len(common_name) <= _MAX_COMMON_NAME:
        raise Refused(f"a certificate's name has 1 to {_MAX_COMMON_NAME} characters", where=common_name[:80])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode())
    except ValueError as error:
        raise Refused("is neither a host name nor an IP address", where=name[:80]) from error


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: _Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
