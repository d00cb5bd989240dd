"""Certificates say who somebody is, and are good for what they are made for."""

import base64
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from tests.cluster.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def test_a_certificate_names_its_user_and_group(authority: Authority) -> None:
    pair = authority.issue("admin", "admin", organization="system:masters")

    subject = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).subject

    assert [each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["admin"]
    assert [each.value for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == [
        "system:masters"
    ]


def test_what_is_there_is_not_made_anew(tmp_path: Path, authority: Authority) -> None:
    first = authority.issue("admin", "admin").certificate.read_bytes()

    again = Authority(tmp_path / "pki").issue("admin", "admin").certificate.read_bytes()

    assert again == first


def test_keys_are_nobody_elses_to_read(authority: Authority) -> None:
    pairs = [authority.pair, authority.issue("admin", "admin")]

    assert [pair.key.stat().st_mode & 0o777 for pair in pairs] == [0o600, 0o600]


@pytest.mark.parametrize("host", ["kubernetes.default", "10.96.0.1"])
def test_a_client_trusts_a_server_at_the_names_and_addresses_of_its_certificate(
    authority: Authority, host: str
) -> None:
    server, client = (
        authority.issue("server", "server", hosts=("kubernetes.default", "10.96.0.1")),
        authority.pair,
    )

    _shake_hands(server.certificate, server.key, client.certificate, host)

    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _shake_hands(server.certificate, server.key, client.certificate, "elsewhere")


def test_a_kubeconfig_holds_everything_and_is_nobody_elses_to_read(
    tmp_path: Path, authority: Authority
) -> None:
    user = authority.issue("admin", "admin")

    file = authority.kubeconfig(tmp_path / "kubeconfig", "https://10.250.1.1:6443", user, cluster="a")

    content = json.loads(file.read_text())
    assert content["clusters"][0]["cluster"]["server"] == "https://10.250.1.1:6443"
    assert base64.b64decode(content["users"][0]["user"]["client-key-data"]) == user.key.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600


def _shake_hands(certificate: Path, key: Path, trusted: Path, host: str) -> None:
    """Connect a TLS client, who trusts an authority and asks for host, with a server, in memory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    trust = ssl.create_default_context(cafile=str(trusted))
    client = trust.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_many_threads_that_ask_for_one_user_get_one_certificate_and_its_key(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / str(number)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _, folder=folder: Authority(folder).issue("user", "user"), range(8)))

        assert len(set(made)) == 1
        certificate = x509.load_pem_x509_certificate(made[0].certificate.read_bytes())
        key = serialization.load_pem_private_key(made[0].key.read_bytes(), None)
        assert certificate.public_key() == key.public_key()
