"""Mutual TLS, and why it fails.

gRPC tells a client of a refused certificate only "Socket closed" (fault G9), so the reason is looked for here:
:func:`preflight` reads the files before a channel is made, :func:`probe` shakes hands once and says what came of it.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from proto.channel.limits import CLIENT_OPTIONS
from proto.errors import Credential, Transient

PROBE_TIMEOUT_S: Final = 5.0
_ASK: Final = "is it of the authority the platform trusts? otherwise ask the platform for one"
_ISSUED: Final = "use the three files that the platform handed out together"
_REFUSALS: Final = {
    "expired": "the other side says that our certificate has expired",
    "revoked": "the other side says that our certificate is revoked",
    "unknown ca": "the other side does not trust the CA of our certificate",
    "certificate required": "the other side got no certificate from us",
    "bad certificate": "the other side refuses our certificate",
    "certificate unknown": "the other side refuses our certificate",
    "handshake failure": "the two sides have no cipher or version of TLS in common",
}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where an end keeps its identity. *ca* may hold several certificates, so that a CA can be changed."""

    ca: Path
    certificate: Path
    key: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """CA, certificate and key as they are now; raises Credential."""
        return _read(self.ca), _read(self.certificate), _read(self.key)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a certificate says about its owner."""

    fingerprint: str
    """SHA-256 of the public key, hex: a new certificate for the same key keeps it."""
    uri: str
    """The one URI among its names; empty when there is none or more than one."""
    not_before: datetime
    not_after: datetime

    @property
    def not_after_us(self) -> int:
        """The end of validity in microseconds since 1970."""
        return int(self.not_after.timestamp()) * 1_000_000


def identity_of(certificate: x509.Certificate) -> Identity:
    """Fingerprint, name and validity of *certificate*."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Identity(
        fingerprint=hashlib.sha256(key).hexdigest(),
        uri=_only_uri(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def identity_of_pem(pem: bytes, where: str = "") -> Identity:
    """The identity in a PEM certificate (the first one, if it is a chain); raises Credential."""
    return identity_of(_certificates(pem, where)[0])


def preflight(tls: TlsFiles, now: datetime | None = None) -> Identity:
    """Look at the files as a suspicious peer would and return whose they are; raises Credential saying what is wrong."""
    ca, chain, key = tls.read()
    certificates = _certificates(chain, str(tls.certificate))
    own, moment = certificates[0], now or datetime.now(UTC)
    _check_validity(own, moment, str(tls.certificate))
    _check_key(own, key, tls)
    _check_issuer(certificates, _certificates(ca, str(tls.ca)), tls)
    return identity_of(own)


def channel(
    target: str,
    tls: TlsFiles,
    server_name: str = "",
    options: Sequence[tuple[str, int | str]] = (),
) -> grpc.Channel:
    """A channel to *target* with our certificates as they are now; raises Credential if they cannot work."""
    preflight(tls)
    ca, certificate, key = tls.read()
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    named = (("grpc.ssl_target_name_override", server_name),) if server_name else ()
    return grpc.secure_channel(target, credentials, (*CLIENT_OPTIONS, *named, *options))


def server_credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that demand a certificate of the caller and follow the files when they change (fault G11)."""
    preflight(tls)
    fetch = _fetcher(tls)
    # None is a documented answer of the fetcher, but not in gRPC's stubs.
    return grpc.dynamic_ssl_server_credentials(_configuration(*tls.read()), fetch, True)  # type: ignore[arg-type]


def probe(target: str, tls: TlsFiles, server_name: str = "", timeout_s: float = PROBE_TIMEOUT_S) -> None:
    """Shake hands with *target* once. Raises Credential when either side refuses the other, Transient when unreachable."""
    preflight(tls)
    host, _, port = target.rpartition(":")
    host = host.strip("[]")
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(tls.certificate, tls.key)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, int(port)), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=server_name or host) as secure,
        ):
            # With TLS 1.3 our certificate is judged after the handshake: the verdict is the first thing to read.
            # Whoever takes it speaks first; gRPC hangs up on the others without a word.
            welcome = secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        raise Credential(
            f"the certificate of {target} is refused: {error.verify_message}",
            where=str(tls.ca),
            fix="compare the CA file and the server's name with what the platform handed out",
        ) from error
    except ssl.SSLEOFError as error:
        # Whoever refuses a certificate says so in an alert; a plain end is a broken way or a proxy without a server.
        raise Transient(
            f"{target} ended the connection in the handshake", fix="check address, firewall and service"
        ) from error
    except ssl.SSLError as error:
        raise _refused(error, target, tls) from error
    except (OSError, ValueError) as error:
        fix = "check address, firewall and service"
        raise Transient(f"{target} is not reachable: {error}", fix=fix) from error
    if not welcome:
        raise Credential(f"{target} hangs up on our certificate", where=str(tls.certificate), fix=_ASK)


def _refused(error: ssl.SSLError, target: str, tls: TlsFiles) -> Credential:
    said = (error.reason or str(error)).replace("_", " ").lower()
    words = next((words for sign, words in _REFUSALS.items() if sign in said), f"TLS failed: {said}")
    return Credential(f"{target}: {words}", where=str(tls.certificate), fix=_ASK)


def _configuration(ca: bytes, certificate: bytes, key: bytes) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(key, certificate)], ca)


def _fetcher(tls: TlsFiles) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Called by gRPC at every handshake; None means: as before."""
    seen = [_stamps(tls)]

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        stamps = _stamps(tls)
        if stamps == seen[0]:
            return None
        try:
            # Files are replaced one after the other: half a change keeps the old ones until the rest has come.
            preflight(tls)
            configuration = _configuration(*tls.read())
        except Credential:
            return None
        seen[0] = stamps
        return configuration

    return fetch


def _stamps(tls: TlsFiles) -> tuple[tuple[int, int, int], ...]:
    stamps = []
    for path in (tls.ca, tls.certificate, tls.key):
        try:
            stat = path.stat()
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(stamps)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fix = "name the right file in the settings, and let this account read it"
        raise Credential(f"cannot be read: {error.strerror}", where=str(path), fix=fix) from error


def _certificates(pem: bytes, where: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Credential("this is not a PEM certificate", where=where, fix=_ISSUED) from error


def _check_validity(certificate: x509.Certificate, now: datetime, where: str) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise Credential(
            f"certificate expired on {end:%Y-%m-%d %H:%M} UTC", where=where, fix="have it renewed"
        )
    if now < begin:
        raise Credential(
            f"certificate is valid only from {begin:%Y-%m-%d %H:%M} UTC",
            where=where,
            fix="check this machine's clock",
        )


def _check_key(certificate: x509.Certificate, pem: bytes, tls: TlsFiles) -> None:
    try:
        key = load_pem_private_key(pem, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "this is not a PEM key without a password"
        raise Credential(what, where=str(tls.key), fix=_ISSUED) from error
    if key != certificate.public_key():
        what = f"the key does not belong to {tls.certificate}"
        raise Credential(what, where=str(tls.key), fix=_ISSUED)


def _check_issuer(chain: list[x509.Certificate], trusted: list[x509.Certificate], tls: TlsFiles) -> None:
    # Our own chain may bring intermediates between the certificate and what is trusted.
    for certificate in chain:
        if any(_issued(certificate, issuer) for issuer in trusted):
            return
    raise Credential(
        f"certificate was issued by {chain[-1].issuer.rfc4514_string()}, which is not in {tls.ca}",
        where=str(tls.certificate),
        fix="use the CA file that came with this certificate",
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _only_uri(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if len(uris) == 1 else ""
