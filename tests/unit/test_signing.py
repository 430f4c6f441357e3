"""What the platform and nodes sign can be checked by anyone who has the certificate, for its purpose alone."""

from __future__ import annotations

import pytest

from central.ca import make_authority
from proto.delivery import Place, chain, signed
from proto.errors import Credential
from proto.signing import PLATFORM_URI, SignatureWrong, Signer, Verifier


@pytest.fixture(params=["platform", "node"])
def signer(request, tmp_path) -> Signer:
    """Ed25519 of the platform, ECDSA of a node."""
    authority = make_authority("省大数据局")
    issued = authority.issue_platform("省平台") if request.param == "platform" else authority.issue_node("hr")
    issued.write(tmp_path / "c.pem", tmp_path / "c.key")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    return Signer.load(tmp_path / "c.pem", tmp_path / "c.key")


def test_a_signature_fits_its_bytes_and_its_purpose_alone(signer):
    """A receipt's signature must not pass as a release's."""
    signature = signer.sign("delivery", "内容".encode())
    verifier = Verifier(signer.certificate_pem)
    verifier.demand("delivery", "内容".encode(), signature)
    for purpose, content in (("release", "内容".encode()), ("delivery", "内容!".encode())):
        with pytest.raises(SignatureWrong):
            verifier.demand(purpose, content, signature)


def test_only_certificates_of_our_authority_and_of_the_right_kind_count(signer, tmp_path):
    """Another CA's platform, or a node that plays platform, is refused."""
    verifier = Verifier(signer.certificate_pem)
    verifier.demand_issued_by((tmp_path / "ca.pem").read_bytes(), verifier.uri[:13])
    with pytest.raises(SignatureWrong, match="not from an authority"):
        verifier.demand_issued_by(make_authority("另一个").pem, "urn:exchange:")
    if "node" in verifier.uri:
        with pytest.raises(SignatureWrong, match="names urn:exchange:node:hr"):
            verifier.demand_issued_by((tmp_path / "ca.pem").read_bytes(), PLATFORM_URI)


def test_a_key_of_another_certificate_is_refused(signer, tmp_path):
    """At start, not at the first signature."""
    make_authority("x").issue_node("other").write(tmp_path / "o.pem", tmp_path / "o.key")
    with pytest.raises(Credential, match="does not belong"):
        Signer.load(tmp_path / "c.pem", tmp_path / "o.key")


def test_every_part_of_a_delivery_s_place_is_covered():
    """Grant, generation, number, header; consumer and receipt in the signature."""
    base = chain(bytes(32), Place("G1", 1, 1), b"h")
    others = [Place("G2", 1, 1), Place("G1", 2, 1), Place("G1", 1, 2)]
    digests = {base, chain(b"\1" * 32, Place("G1", 1, 1), b"h"), chain(bytes(32), Place("G1", 1, 1), b"i")}
    digests |= {chain(bytes(32), other, b"h") for other in others}
    assert len(digests) == 6
    assert signed("a", Place("bG", 1, 1), base, "r") != signed("ab", Place("G", 1, 1), base, "r")
