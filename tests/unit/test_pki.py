"""The device authority: signs the key alone, refuses hostile requests, survives being opened twice and interrupted."""

import stat
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from hub.pki import MAX_CSR_BYTES, DeviceAuthority
from shared.errors import Refused
from tests.fix_broker import certificate_request

ORG, AIRCRAFT = uuid.uuid4(), uuid.uuid4()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> DeviceAuthority:
    return DeviceAuthority(tmp_path_factory.mktemp("pki") / "authority")


def test_the_certificate_names_aircraft_and_organisation_whatever_the_request_says(authority: DeviceAuthority) -> None:
    key, request = certificate_request("dbx-hub")
    signed = authority.sign_device(request, ORG, AIRCRAFT)
    certificate = x509.load_pem_x509_certificate(signed.certificate_pem.encode())
    assert certificate.subject.rfc4514_string() == f"O={ORG},CN={AIRCRAFT}"
    assert certificate.public_key() == key.public_key()
    assert certificate.serial_number == int(signed.serial, 16)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca_pem.encode()))


def request_with(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def test_a_key_that_is_not_p_256_is_refused(authority: DeviceAuthority) -> None:
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(Refused) as refused:
            authority.sign_device(request_with(key), ORG, AIRCRAFT)
        assert refused.value.reason == "csr_key"


def test_a_request_with_somebody_elses_key_is_refused(authority: DeviceAuthority) -> None:
    der = x509.load_pem_x509_csr(certificate_request()[1]).public_bytes(serialization.Encoding.DER)
    other = certificate_request()[0].public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )  # fmt: skip
    at = der.index(b"\x04", der.index(bytes.fromhex("2a8648ce3d030107")) + 8)
    forged = x509.load_der_x509_csr(der[:at] + other + der[at + len(other) :])
    with pytest.raises(Refused) as refused:
        authority.sign_device(forged.public_bytes(serialization.Encoding.PEM), ORG, AIRCRAFT)
    assert refused.value.reason == "csr_signature"


def test_an_oversized_request_is_refused(authority: DeviceAuthority) -> None:
    with pytest.raises(Refused, match="csr_malformed"):
        authority.sign_device(certificate_request()[1] + b"\n" * MAX_CSR_BYTES, ORG, AIRCRAFT)


@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_arbitrary_input_is_refused_and_nothing_else(authority: DeviceAuthority, data: str | bytes) -> None:
    with pytest.raises(Refused):
        authority.sign_device(data, ORG, AIRCRAFT)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_request_with_a_changed_byte_never_signs_another_key(authority: DeviceAuthority, at: int, flip: int) -> None:
    key, pem = certificate_request()
    data = bytearray(pem)
    data[at % len(data)] ^= flip
    try:
        signed = authority.sign_device(bytes(data), ORG, AIRCRAFT)
    except Refused:
        return
    assert x509.load_pem_x509_certificate(signed.certificate_pem.encode()).public_key() == key.public_key()


def test_two_processes_that_open_it_at_once_make_one_authority(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(DeviceAuthority, [tmp_path / "pki"] * 4))
    assert len({each.ca_pem for each in opened}) == 1


def test_an_interrupted_first_start_is_completed(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("half a key")
    credentials = DeviceAuthority(tmp_path).hub_client()
    assert credentials.client_context()


def test_credentials_whose_files_do_not_belong_together_are_made_again(tmp_path: Path) -> None:
    authority = DeviceAuthority(tmp_path)
    old = authority.server()
    old.key.write_bytes(authority.hub_client().key.read_bytes())
    assert authority.server().client_context()


def test_server_credentials_follow_the_names(tmp_path: Path) -> None:
    authority = DeviceAuthority(tmp_path)
    first = authority.server().certificate.read_bytes()
    assert authority.server().certificate.read_bytes() == first
    assert authority.server(["hub.example", "10.0.0.7"]).certificate.read_bytes() != first


def test_private_files_are_private(tmp_path: Path) -> None:
    authority = DeviceAuthority(tmp_path / "pki")
    authority.server()
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / "pki" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_a_revoked_serial_is_on_the_signed_list(tmp_path: Path) -> None:
    authority = DeviceAuthority(tmp_path)
    serial = authority.sign_device(certificate_request()[1], ORG, AIRCRAFT).serial
    authority.revoke(serial)
    crl = x509.load_pem_x509_crl(authority.crl.read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None
    assert crl.is_signature_valid(x509.load_pem_x509_certificate(authority.ca_pem.encode()).public_key())
