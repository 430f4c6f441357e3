"""Signatures that outlive a connection: releases, receipts, attestations. Ed25519 or ECDSA, by the signer's key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proto.errors import Credential, Refused

PLATFORM_URI: Final = "urn:exchange:platform:"
_HASH: Final = ec.ECDSA(hashes.SHA256())


class SignatureWrong(Refused):
    """A signature is missing, another's, or of other bytes."""

    code = "SIGNATURE_WRONG"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and the certificate that says whose it is."""

    certificate_pem: bytes
    _key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Signer:
        """Read both files; raises Credential when they cannot be read or do not belong together."""
        try:
            pem = certificate.read_bytes()
            loaded = load_pem_private_key(key.read_bytes(), None)
            public = x509.load_pem_x509_certificate(pem).public_key()
        except (OSError, ValueError, TypeError) as error:
            raise Credential("the signing certificate or key cannot be read", where=str(key)) from error
        if not isinstance(loaded, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise Credential("the signing key is neither Ed25519 nor ECDSA", where=str(key))
        if loaded.public_key() != public:
            raise Credential(f"the key does not belong to {certificate}", where=str(key))
        return cls(pem, loaded)

    def sign(self, purpose: str, content: bytes) -> bytes:
        """The signature of *content*; good for *purpose* alone."""
        message = _message(purpose, content)
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _HASH)


class Verifier:
    """Checks what one certificate signed; loaded once, used often."""

    def __init__(self, certificate_pem: bytes) -> None:
        try:
            self.certificate = x509.load_pem_x509_certificate(certificate_pem)
        except ValueError as error:
            raise SignatureWrong("the signer's certificate cannot be read") from error
        self._public = self.certificate.public_key()
        self.pem = certificate_pem

    @property
    def uri(self) -> str:
        """Whom the certificate names."""
        try:
            names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ""
        return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "")

    def demand_issued_by(self, authorities_pem: bytes, uri_prefix: str) -> None:
        """Raise SignatureWrong unless one of *authorities_pem* issued the certificate to somebody of *uri_prefix*.

        Not its dates: a signature made in its time stays good.
        """
        if not self.uri.startswith(uri_prefix):
            raise SignatureWrong(f"the certificate names {self.uri or 'nobody'}, not {uri_prefix}…")
        for authority in x509.load_pem_x509_certificates(authorities_pem):
            try:
                self.certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return
        raise SignatureWrong("the signer's certificate is not from an authority we trust", where=self.uri)

    def demand(self, purpose: str, content: bytes, signature: bytes) -> None:
        """Raise SignatureWrong unless *signature* is this certificate's, of *content*, for *purpose*."""
        message = _message(purpose, content)
        try:
            if isinstance(self._public, ed25519.Ed25519PublicKey):
                self._public.verify(signature, message)
            elif isinstance(self._public, ec.EllipticCurvePublicKey):
                self._public.verify(signature, message, _HASH)
            else:
                raise SignatureWrong("the signer's key is neither Ed25519 nor ECDSA", where=self.uri)
        except InvalidSignature as error:
            raise SignatureWrong(f"the signature does not fit this {purpose}", where=self.uri) from error


def _message(purpose: str, content: bytes) -> bytes:
    # A signature of a receipt must never pass as one of a release.
    return b"exchange.v1/" + purpose.encode() + b"\x00" + content
