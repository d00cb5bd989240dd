"""Restores a repository of format 1 from a directory of its objects, written from FORMAT.md alone.

    python standalone_reader.py REPOSITORY_DIR RECOVERY_LINE OUT_DIR

Shares no code with drtool, and needs only cryptography, blake3 and zstd. Any fault ends it: it never writes a byte
that it did not prove. Artifacts go to OUT_DIR/<volume>/<time>/, WAL to OUT_DIR/<volume>/wal/<lineage>/<timeline>/;
what all records say is printed as JSON, links and devices with it: none is made.
"""

import base64
import hashlib
import json
import re
import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
ROLES = {
    "config": {"admin"}, "rewrap": {"admin"}, "runs": {"writer", "verifier", "operator"},
    "snap": {"writer"}, "part": {"writer"}, "wal": {"writer"}, "tail": {"writer"}, "void": {"writer"},
    "heads": {"maintainer"}, "plan": {"maintainer"}, "hold": {"operator", "maintainer"}, "using": {"operator"},
}  # fmt: skip
PLACE = struct.Struct(">IQIIIIIB32s")
GRACE = timedelta(seconds=2)


class Head(NamedTuple):
    run: bytes
    salt: bytes
    commitment: bytes
    wraps: dict[bytes, bytes]  # by fingerprint
    end: int


Record = dict[str, Any]
Keys = tuple[bytes, bytes]  # a writer's id key and list key


def require(claim: object, fault: str) -> None:
    if not claim:
        raise SystemExit(f"refused: {fault}")


def derive(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    return HKDF(SHA256(), 32, salt or None, b"drtool/1 " + purpose.encode()).derive(key)


def open_sealed(key: bytes, number: int, sealed: bytes, bound: bytes) -> bytes:
    return bytes(zstd.decompress(AESGCM(key).decrypt(number.to_bytes(12, "big"), sealed, bound)))


def keyed(key: bytes, value: bytes) -> bytes:
    return blake3(value, key=key).digest()


def path_id(writer: Keys, path: str) -> bytes:
    return keyed(writer[0], b"path\0" + path.encode())[:16]


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def family(name: str) -> str:
    return name.partition("/")[0]


def number_of(name: str) -> int:
    return int(re.split("[/-]", name)[1])


def in_name(text: str) -> str:
    return text.replace("-", "").replace(":", "")


class Repository:
    """One repository, opened with one recovery line."""

    def __init__(self, root: Path, line: str) -> None:
        self.root = root
        kind, value = re.fullmatch(r"DRTOOL-([A-Z]+)-([A-Z2-7-]+)", line.strip()).groups()  # type: ignore[union-attr]
        letters = value.replace("-", "")
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
        value, check = data[:-4], data[-4:]
        expected = hashlib.sha256(b"drtool/1 text " + kind.encode() + b"\0" + value).digest()[:4]
        require(kind == "RECOVERY" and check == expected, "the recovery line has a typing error")
        self.private = X25519PrivateKey.from_private_bytes(derive(value[:32], "recipient"))
        self.public = self.private.public_key().public_bytes_raw()
        self.fingerprint = hashlib.sha256(self.public).digest()[:8]
        self.mark = self.fingerprint.hex()
        self.configs = self.read_configs(trust=value[32:])
        self.config = self.configs[-1]
        self.writers = [self.open_writer(w) for w in self.config["writers"] if self.mark in w["id_key"]]
        require(self.writers, "the recovery line is of no recipient of this repository")
        self.last: dict[str, tuple[bytes, Head, bytes]] = {}
        self.rewraps: dict[bytes, bytes] = {}
        self.told_rewraps = [self.read_rewrap(name) for name in self.names("rewrap/")]

    def names(self, prefix: str) -> list[str]:
        names = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(name for name in names if name.startswith(prefix))

    def get(self, name: str) -> bytes:
        value = (self.root / name).read_bytes()
        require(hashlib.sha256(value).hexdigest() == name[-64:], f"{name}: bytes and name differ")
        return value

    def received(self, name: str) -> datetime:
        return datetime.fromtimestamp((self.root / name).stat().st_mtime, UTC)

    # Keys and configs

    def read_configs(self, trust: bytes) -> list[Record]:
        configs: list[Record] = []
        previous = None
        for name in sorted(self.names("config/"), key=number_of):
            value = self.get(name)
            require(value[:5] == b"DRC1\x01", f"{name}: no record of this format")
            if not configs:  # a claim, until the recovery line vouches for it
                claim = json.loads(value[9 : 9 + int.from_bytes(value[5:9], "big")])
                self.id, self.admin = bytes.fromhex(claim["repository"]), bytes.fromhex(claim["admin"])
                believed = hashlib.sha256(b"drtool/1 trust\0" + self.id + self.admin).digest()[:16]
                require(believed == trust, "this is not the repository of this recovery line")
            config, _ = self.signed(name, value[5:])
            require(config["number"] == len(configs) == number_of(name), f"{name}: number")
            require(config["format"] == 1 and config["previous"] == previous, f"{name}: not the next config")
            same = (config["repository"], config["admin"]) == (self.id.hex(), self.admin.hex())
            require(same, f"{name}: another repository's")
            configs.append(config)
            previous = name[-64:]
        require(configs, "no config is here")
        return configs

    def open_writer(self, told: Record) -> Keys:
        def unseal(purpose: bytes, wraps: dict[str, str]) -> bytes:
            info = b"drtool/1 writer\0" + self.id + purpose + b"\0" + told["writer"].encode() + self.public
            return HPKE.decrypt(bytes.fromhex(wraps[self.mark]), self.private, info)

        return unseal(b"id", told["id_key"]), unseal(b"list", told["list_key"])

    # Records

    def signed(self, name: str, body: bytes) -> tuple[Record, bytes]:
        """Return the JSON of a signed body and its signer's key, which the config lets sign this."""
        size = int.from_bytes(body[:4], "big")
        told, signer, signature = body[4 : 4 + size], body[4 + size : 36 + size], body[36 + size :]
        value = json.loads(told)
        words = [word.encode() for word in (family(name), name[:-64], value["role"])]
        bound = b"".join(len(word).to_bytes(2, "big") + word for word in words)
        text = b"drtool/1 signature\0" + self.id + bound + told
        Ed25519PublicKey.from_public_bytes(signer).verify(signature, text)
        require(value["role"] in ROLES[family(name)], f"{name}: {value['role']} may not sign this")
        admin = value["role"] == "admin" and signer == self.admin
        allowed = admin or any(self.may_sign(s, value["role"], signer, name) for s in self.config["signers"])
        require(allowed, f"{name}: its signer is not in the config")
        return value, signer

    def may_sign(self, told: Record, role: str, signer: bytes, name: str) -> bool:
        begun = moment(told["since"]) <= self.received(name) + GRACE
        ended = told["until"] is not None and self.received(name) > moment(told["until"])
        return (told["role"], bytes.fromhex(told["key"])) == (role, signer) and begun and not ended

    def read_sealed(self, name: str) -> tuple[bytes, Keys]:
        """Return the body of a sealed record, and the writer whose list key opened it."""
        value, kind = self.get(name), family(name)
        require(value[:5] == b"DRR1\x01", f"{name}: no record of this format")
        return self.open_body(name, f"record {kind}", value[5:37], value[37:])

    def open_body(self, name: str, purpose: str, salt: bytes, sealed: bytes) -> tuple[bytes, Keys]:
        for writer in self.writers:
            try:
                key = derive(writer[1], purpose, salt)
                return open_sealed(key, 0, sealed, self.id + name[:-64].encode()), writer
            except Exception:  # noqa: BLE001 - the next key may fit
                continue
        raise SystemExit(f"refused: {name}: no list key opens it")

    def read_record(self, name: str) -> tuple[Record, Keys]:
        body, writer = self.read_sealed(name)
        return self.signed(name, body)[0], writer

    def read_rewrap(self, name: str) -> Record:
        value = self.get(name)
        require(value[:5] == b"DRC1\x01", f"{name}: no record of this format")
        told, _ = self.signed(name, value[5:])
        if bytes.fromhex(told["recipient"]) == self.public:
            self.rewraps |= {bytes.fromhex(k["commitment"]): bytes.fromhex(k["wrap"]) for k in told["keys"]}
        return told

    # Heads, chunks, lists

    def head(self, value: bytes, magic: bytes) -> Head:
        require(value[:5] == magic + b"\x01" and value[5:21] == self.id, "no head of this repository")
        count = value[101]
        wraps = {value[at : at + 8]: value[at + 8 : at + 88] for at in range(102, 102 + 88 * count, 88)}
        return Head(value[21:37], value[37:69], value[69:101], wraps, 102 + 88 * count)

    def run_key(self, head: Head, volume: str) -> bytes:
        wrap = head.wraps.get(self.fingerprint) or self.rewraps.get(head.commitment)
        require(wrap, f"a run of {volume} is not wrapped to this recipient")
        info = b"drtool/1 wrap\0" + self.id + short(volume) + head.run + self.public
        key = HPKE.decrypt(wrap or b"", self.private, info)
        require(derive(key, "commit") == head.commitment, f"a run of {volume}: another key than committed to")
        return key

    def chunk(self, key: bytes, head: Head, volume: str, what: tuple[int, int, int], sealed: bytes) -> bytes:
        """Return the plain bytes of a chunk; what is its kind, number and plain size."""
        bound = self.id + short(volume) + head.salt + struct.pack(">BII", *what)
        plain = open_sealed(derive(key, "pack", head.salt), what[1], sealed, bound)
        require(len(plain) == what[2], f"a chunk of {volume} has another size")
        return plain

    def pack(self, name: str, volume: str) -> tuple[bytes, Head, bytes]:
        """Return a pack, its head and its run's key; the last one is kept, for places of one pack are neighbours."""
        if name not in self.last:
            packed = self.get(name)
            head = self.head(packed, b"DRP1")
            self.last = {name: (packed, head, self.run_key(head, volume))}
        return self.last[name]

    def stream(self, volume: str, lists: list[str], runs: dict[str, str], writer: Keys) -> dict[bytes, bytes]:
        """Return the bytes of each path id of one stream, each chunk authenticated and its id checked."""
        out: dict[bytes, bytes] = {}
        for name in lists:
            value, _ = self.read_sealed(name)
            at = 4 + 16 * int.from_bytes(value[:4], "big")
            paths = [value[i : i + 16] for i in range(4, at, 16)]
            count = int.from_bytes(value[at : at + 4], "big")
            packs = [
                struct.unpack(">HB32s16s", value[i : i + 51]) for i in range(at + 4, at + 4 + 51 * count, 51)
            ]
            at += 4 + 51 * count
            places = list(PLACE.iter_unpack(value[at + 4 :]))
            require(len(places) == int.from_bytes(value[at : at + 4], "big"), f"{name}: its count is wrong")
            for path, offset, pack, position, sealed, plain, number, kind, chunk_id in places:
                year, week, digest, run = packs[pack]
                packed, head, key = self.pack(f"packs/{volume}/{year:04}W{week:02}/{digest.hex()}", volume)
                require(
                    head.run == run and runs[run.hex()] == head.commitment.hex(),
                    f"{name}: another run's pack",
                )
                piece = packed[position : position + sealed]
                data = self.chunk(key, head, volume, (kind, number, plain), piece)
                id_key = writer[0] if kind == 1 else derive(key, "private id")
                require(keyed(id_key, data) == chunk_id, f"{name}: a chunk is not what it says")
                before = out.setdefault(paths[path], b"")
                require(len(before) == offset, f"{name}: a hole at {offset}")
                out[paths[path]] = before + data
        return out

    # What is restored

    def snapshot(self, name: str, out: Path) -> Record:
        told, writer = self.read_record(name)
        volume = told["volume"]
        require(
            name.startswith(f"snap/{volume}/{in_name(told['to'])}-"), f"{name}: its name and content differ"
        )
        start, begin, end = (moment(told[claim]) for claim in ("start", "from", "to"))
        require(
            start <= begin <= end <= self.received(name) + GRACE, f"{name}: its times contradict each other"
        )
        late = self.received(name) > start + timedelta(seconds=self.config["volumes"][volume]["max_run"])
        entries = self.stream(volume, told["entries"], told["runs"], writer)[path_id(writer, "")]
        rows = [json.loads(line) for line in entries.splitlines()]
        header = {key: row[key] for row in rows if "path" not in row for key in row}
        artifacts = [row for row in rows if "path" in row]
        content = self.stream(volume, told["content"], told["runs"], writer)
        for artifact in artifacts:
            data = content.get(path_id(writer, artifact["path"]), b"")
            require(len(data) == artifact["size"], f"{name}: {artifact['path']} is not complete")
            write(out / volume / in_name(told["to"]), artifact["path"], data, artifact["entry"]["type"])
        return {"name": name, "late": late, "record": told, "header": header, "artifacts": artifacts}

    def wal(self, name: str, out: Path) -> Record:
        kind, volume, lineage, timeline, last = name.split("/")
        value = self.get(name)
        head = self.head(value, b"DRW1")
        end = head.end + 4 + int.from_bytes(value[head.end : head.end + 4], "big")
        body, writer = self.open_body(name, "record wal", head.salt, value[head.end + 4 : end])
        told, _ = self.signed(name, body)
        require(f"{told['system']}-{told['major']}-{told['epoch']}" == lineage, f"{name}: another lineage's")
        require(hashlib.sha256(value[end:]).hexdigest() == told["body"], f"{name}: its bytes were exchanged")
        require(head.commitment.hex() == told["commitment"], f"{name}: its key was exchanged")
        key = self.run_key(head, volume)
        plain = self.chunk(key, head, volume, (1, 0, told["size"]), value[end:])
        require(keyed(writer[0], plain).hex() == told["id"], f"{name}: not what it says")
        twins = self.names(name[:-64])
        if name == min(twins, key=self.received):  # of two that differ, the one received first stands
            write(out / volume / kind / lineage / timeline, last[:-65], plain)
        return {"name": name, "record": told}


def write(folder: Path, path: str, data: bytes, kind: str = "file") -> None:
    parts, is_folder = PurePosixPath(path).parts, kind == "directory"
    within = (parts or is_folder) and ".." not in parts and not path.startswith("/")
    require(within, f"{path!r} leads out of the target")
    target = folder.joinpath(*parts)
    (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
    if kind in ("file", "object"):
        target.write_bytes(data)


def main(root: str, line: str, target: str) -> None:
    repository, out = Repository(Path(root), line), Path(target)
    told: Record = {"config": repository.configs, "rewrap": repository.told_rewraps}
    for kind in ("wal", "tail"):
        told[kind] = [repository.wal(name, out) for name in repository.names(f"{kind}/")]
    told["snap"] = [repository.snapshot(name, out) for name in repository.names("snap/")]
    for kind in ("part", "void", "hold", "using", "plan", "runs", "heads"):
        told[kind] = [
            {"name": name, "record": repository.read_record(name)[0]} for name in repository.names(f"{kind}/")
        ]
    json.dump(told, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
