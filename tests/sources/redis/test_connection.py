"""Connections over TLS, with and without a certificate of our own. Debian's Redis speaks TLS, the wheel's does not."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from drtool.demo.servers.process import free_port
from drtool.errors import SourceUnavailable
from drtool.sources.redis.capture import RedisSettings
from drtool.sources.redis.connection import Access, Connection, Endpoint, Tls
from tests.sources.redis.support import Launch, take


@dataclass
class Certificates:
    """A CA and one certificate that it signed, for 127.0.0.1, good for client and server."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path) -> Certificates:
    directory.mkdir()
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("ca", "redis"))
    ca = _sign(ca_name, ca_name, ca_key, ca_key, is_ca=True)
    certificate = _sign(name, ca_name, key, ca_key, is_ca=False)
    made = Certificates(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made


def _sign(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "certificates")


@pytest.fixture
def endpoint(launch: Launch, certificates: Certificates) -> Endpoint:
    """Start a server that wants TLS and a client certificate on one of its ports."""
    port = free_port()
    files = {
        "cert-file": certificates.certificate,
        "key-file": certificates.key,
        "ca-cert-file": certificates.ca,
    }
    launch(
        {"tls-port": str(port), **{f"tls-{name}": str(path) for name, path in files.items()}}, version="7.0"
    )
    return Endpoint("127.0.0.1", port)


pytestmark = pytest.mark.parametrize("version", ["7.0"])


def test_a_capture_over_tls_is_whole(endpoint: Endpoint, certificates: Certificates) -> None:
    access = Access(tls=Tls(certificates.ca, certificates.certificate, certificates.key))
    point = take(RedisSettings(endpoint, access=access))
    assert point.captured.facts["bytes"] == len(point.rdb)


def test_a_missing_client_certificate_is_said(endpoint: Endpoint, certificates: Certificates) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        take(RedisSettings(endpoint, access=Access(tls=Tls(certificates.ca))))
    assert "client certificate" in raised.value.hint


def test_a_server_signed_by_another_ca_is_not_trusted(
    endpoint: Endpoint, certificates: Certificates, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    with pytest.raises(SourceUnavailable, match="certificate verify failed") as raised:
        take(RedisSettings(endpoint, access=Access(tls=Tls(other.ca))))
    assert "Give the CA" in raised.value.hint


def test_a_client_certificate_of_another_ca_is_not_accepted(
    endpoint: Endpoint, certificates: Certificates, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    with pytest.raises(SourceUnavailable) as raised:
        take(RedisSettings(endpoint, access=Access(tls=Tls(certificates.ca, other.certificate, other.key))))
    assert "the server's CA signed" in raised.value.hint


def test_tls_to_a_plain_port_and_the_reverse_are_said(
    launch: Launch, endpoint: Endpoint, certificates: Certificates
) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        Connection(launch().endpoint, Access(tls=Tls(certificates.ca)), timeout_s=0.3)
    assert "speaks TLS" in raised.value.hint
    with pytest.raises(SourceUnavailable) as raised:
        take(RedisSettings(endpoint))
    assert "TLS" in raised.value.hint


def test_a_missing_certificate_file_is_said(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="No such file"):
        Connection(endpoint, Access(tls=Tls(tmp_path / "missing.pem")))


def test_a_host_that_does_not_exist_is_said(version: str) -> None:
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        Connection(Endpoint("no-such-host.invalid"), Access())
