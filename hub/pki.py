"""The device authority: a private certificate authority for transport between aircraft, broker and hub.

P-256, because every TLS stack on an aircraft has it. Certificates do not expire (RFC 5280, section 4.1.2.5:
99991231235959Z) and are valid from 1970, because aircraft clocks start anywhere: trust ends by revocation, not by date.
The certificate opens the connection and nothing more; what a batch may say is decided by the device's signing key.
"""

import datetime
import fcntl
import ipaddress
import os
import ssl
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import Refused

HUB_NAME = "dbx-hub"  # the common name of the hub's own client certificate
SERVER_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_CSR_BYTES = 16_384
ALWAYS = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
FOREVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Credentials:
    """Files that one end of a TLS connection needs."""

    key: Path
    certificate: Path
    ca: Path

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts our authority alone and shows our certificate."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True)
class SignedDevice:
    """What a device gets: its certificate, and the serial number (hex) that a revocation names."""

    certificate_pem: str
    serial: str


class DeviceAuthority:
    """The authority in `folder` (0700): ca.key, ca.crt, revoked.txt, crl.pem, and the hub's own credentials."""

    def __init__(self, folder: Path) -> None:
        """Open the authority, making it first where there is none. Safe when two processes do so at once."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        with self._locked():
            if not (folder / "ca.crt").exists():
                self._create()
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise RuntimeError(f"{folder / 'ca.key'} is no elliptic curve key")
            self._key = key
            self._certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            if not self.crl.exists():
                self._write_crl()

    @property
    def ca_pem(self) -> str:
        return (self.folder / "ca.crt").read_text()

    @property
    def crl(self) -> Path:
        """The list of revoked certificates, as brokers read it."""
        return self.folder / "crl.pem"

    def sign_device(
        self, csr_pem: str | bytes, org_id: uuid.UUID, aircraft_id: uuid.UUID, device_id: uuid.UUID | None = None
    ) -> SignedDevice:
        """Sign a device's request. Subject and usage are ours; only the public key is taken from the request.

        device_id becomes the subject's OU: brokers tell devices of one aircraft apart by it, and shut out one alone.

        Refused: csr_malformed (no PEM request, too long), csr_key (not P-256), csr_signature (not made with that key).
        """
        key = _requested_key(csr_pem)
        subject = [(NameOID.COMMON_NAME, str(aircraft_id)), (NameOID.ORGANIZATION_NAME, str(org_id))]
        if device_id is not None:
            subject.append((NameOID.ORGANIZATIONAL_UNIT_NAME, str(device_id)))
        certificate = self._sign(subject, key, ExtendedKeyUsageOID.CLIENT_AUTH, ())
        return SignedDevice(_pem(certificate), f"{certificate.serial_number:x}")

    def server(self, names: Iterable[str] = SERVER_NAMES, file_name: str = "server") -> Credentials:
        """Server credentials for these host names and addresses; made again when the names change."""
        wanted = tuple(dict.fromkeys(names))
        return self._credentials(file_name, [(NameOID.COMMON_NAME, wanted[0])], ExtendedKeyUsageOID.SERVER_AUTH, wanted)

    def hub_client(self) -> Credentials:
        """The hub's own client credentials, with which it reads what all aircraft send."""
        subject = [(NameOID.COMMON_NAME, HUB_NAME)]
        return self._credentials("hub", subject, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def revoke(self, serial: str) -> None:
        """Add a serial number (hex) to the list. Brokers refuse the certificate from their next reload on."""
        number = int(serial, 16)
        with self._locked():
            if number in self.revoked():
                return
            with (self.folder / "revoked.txt").open("a") as out:
                out.write(f"{number:x} {int(datetime.datetime.now(datetime.UTC).timestamp())}\n")
            self._write_crl()

    def revoked(self) -> dict[int, datetime.datetime]:
        """Serial number -> when it was revoked."""
        path = self.folder / "revoked.txt"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return {int(serial, 16): datetime.datetime.fromtimestamp(int(at), datetime.UTC) for serial, at in lines}

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"DBX device authority {uuid.uuid4()}")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self.folder / "ca.key", _key_pem(key))
        _write(self.folder / "ca.crt", _pem(certificate).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "ca.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _sign(
        self,
        subject: list[tuple[x509.ObjectIdentifier, str]],
        key: ec.EllipticCurvePublicKey,
        purpose: x509.ObjectIdentifier,
        names: tuple[str, ...],
    ) -> x509.Certificate:
        ours = self._key.public_key()
        builder = (
            _builder(x509.Name([x509.NameAttribute(*part) for part in subject]), self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, *[False] * 8), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_name(n) for n in names]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _credentials(
        self,
        name: str,
        subject: list[tuple[x509.ObjectIdentifier, str]],
        purpose: x509.ObjectIdentifier,
        names: tuple[str, ...],
    ) -> Credentials:
        files = Credentials(self.folder / f"{name}.key", self.folder / f"{name}.crt", self.folder / "ca.crt")
        with self._locked():
            if not _is_complete(files, names):
                key = ec.generate_private_key(ec.SECP256R1())
                _write(files.key, _key_pem(key))
                _write(files.certificate, _pem(self._sign(subject, key.public_key(), purpose, names)).encode())
        return files

    def _write_crl(self) -> None:
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        builder = x509.CertificateRevocationListBuilder(
            self._certificate.subject, last_update=ALWAYS, next_update=FOREVER
        )
        for serial, at in self.revoked().items():
            entry = x509.RevokedCertificateBuilder(serial, min(at, now)).build()
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(self._key, hashes.SHA256())
        _write(self.crl, signed.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), ALWAYS, FOREVER)


def _requested_key(csr_pem: str | bytes) -> ec.EllipticCurvePublicKey:
    data = csr_pem.encode("utf-8", "surrogatepass") if isinstance(csr_pem, str) else csr_pem
    if len(data) > MAX_CSR_BYTES:
        raise Refused("csr_malformed", f"a certificate request has at most {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(data)
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise Refused("csr_malformed", f"no certificate request: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Refused("csr_key", "the request's key must be P-256")
    try:
        is_signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        is_signed = False
    if not is_signed:
        raise Refused("csr_signature", "the request is not signed with its own key")
    return key


def _is_complete(files: Credentials, names: tuple[str, ...]) -> bool:
    """Whether both files are there, belong together and name these hosts."""
    if not (files.key.exists() and files.certificate.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    if certificate.public_key() != key.public_key():
        return False
    if not names:
        return True
    have = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(have) == {_name(name) for name in names}


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes) -> None:
    """Replace a file as a whole; private from its first byte on."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)
