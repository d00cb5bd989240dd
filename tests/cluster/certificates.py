"""Who is who in a cluster: its authority, the certificates of programs and users, and kubeconfigs that hold them.

Kubernetes takes the user's name from a certificate's common name, and the groups from its organizations.
"""

import base64
import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=7)
ALLOWED_SKEW = timedelta(hours=1)
ADMINISTRATORS = "system:masters"  # the group that may do everything


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """The certificate authority of one cluster, in a folder of its own; made when there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pair = Pair(folder / "ca.crt", folder / "ca.key")
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not self.pair.key.exists():
                self._make()

    def issue(
        self, file: str, common_name: str, *, organization: str | None = None, hosts: tuple[str, ...] = ()
    ) -> Pair:
        """Return a certificate for a client and, at hosts (names, addresses), a server; made if file is not there."""
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        with _alone(self._folder):
            if not pair.certificate.exists():
                self._sign(pair, common_name, organization, hosts)
        return pair

    def _sign(self, pair: Pair, common_name: str, organization: str | None, hosts: tuple[str, ...]) -> None:
        key = _new_key(pair.key)
        builder = _builder(_name(common_name, organization), self._certificate.subject, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        _write(pair.certificate, builder.sign(self._key, hashes.SHA256()))

    def kubeconfig(self, file: Path, server: str, user: Pair, *, cluster: str) -> Path:
        """Write a kubeconfig (JSON is YAML) by which user talks to server; everything is in it. Return file."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": cluster,
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
            "clusters": [
                {
                    "name": cluster,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _data(self.pair.certificate),
                    },
                }
            ],
            "users": [
                {
                    "name": cluster,
                    "user": {
                        "client-certificate-data": _data(user.certificate),
                        "client-key-data": _data(user.key),
                    },
                }
            ],
        }
        new = file.with_name(f"{file.name}.{threading.get_native_id()}")
        new.touch(mode=0o600)
        new.write_text(json.dumps(content, indent=2))
        new.replace(file)  # nobody reads half of it
        return file

    def _make(self) -> None:
        key = _new_key(self.pair.key)
        name = _name("drtool test cluster", None)
        builder = _builder(name, name, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        _write(self.pair.certificate, builder.sign(key, hashes.SHA256()))

    @property
    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())

    @property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one thread of one process look for a pair and make it: nodes start side by side and share users."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _new_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - ALLOWED_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str, organization: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(file: Path, certificate: x509.Certificate) -> None:
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
