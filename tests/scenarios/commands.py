"""drtool's command line over the servers of a scene, in this process or in one of its own. What it says is kept."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from click.testing import CliRunner

from drtool.cli.main import drtool
from drtool.repository.storage.settings import S3Settings
from tests.scenarios.scene import Scene

LONGEST_S = 300  # of a process whose memory is watched


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        value: dict[str, Any] = json.loads(self.out)
        return value

    @property
    def error(self) -> dict[str, Any]:
        """The error of the command, or of the one volume that it failed for."""
        failed: list[dict[str, Any]] = [volume["error"] for volume in self.value.get("volumes", ())]
        error: dict[str, Any] = self.value["error"] if "error" in self.value else failed[0]
        return error


@dataclass(frozen=True)
class Commands:
    """The commands over one policy, a JSON file, for JSON is YAML; its keys lie in directory."""

    directory: Path
    content: Mapping[str, Any]
    environment: Mapping[str, str]
    said: list[str] = field(default_factory=list)

    @property
    def policy(self) -> Path:
        return self.directory / "policy.yaml"

    @property
    def bundle(self) -> Path:
        return self.directory / "bundle.json"

    @property
    def kit(self) -> Path:
        return self.directory / "kit.txt"

    @classmethod
    def over(
        cls, scene: Scene, repository: Mapping[str, object], name: str = "scenario", **secrets: str
    ) -> Self:
        """Write a policy over the servers of scene; its repository is yet to be made. secrets join the environment."""
        content, environment = policy_of(scene, repository, name), {**scene.environment, **secrets}
        return cls(scene.directory / name, content, environment).written()

    def written(self) -> Self:
        self.directory.mkdir(exist_ok=True)
        self.policy.write_text(json.dumps(self.content, indent=1))
        return self

    def but(self, volume: str, **changes: object) -> Self:
        """Return the commands over a changed policy, with the same keys. volume may be "repository" too."""
        content = json.loads(json.dumps(self.content))
        parts = {part["name"]: part for part in content["volumes"]}
        (content["repository"] if volume == "repository" else parts[volume]).update(changes)
        number = len(list(self.directory.glob("changed-*")))
        changed = replace(self, directory=self.directory / f"changed-{number}", content=content).written()
        for file in (self.bundle, self.kit):
            if file.exists():
                (changed.directory / file.name).write_bytes(file.read_bytes())
        return changed

    def init(self, *arguments: object) -> Said:
        """Make the repository, its kit and its bundle."""
        return self("init", "--bundle", self.bundle, "--kit-file", self.kit, *arguments)

    def __call__(self, *arguments: object, code: int = 0) -> Said:
        """Run a command with the writer's keys; it must end with code. Errors have their hint."""
        return self._run(arguments, {"DRTOOL_BUNDLE": str(self.bundle)}, code)

    def operator(self, *arguments: object, code: int | tuple[int, ...] = 0, kit: Path | None = None) -> Said:
        """Run a command with the recovery kit; it must end with code, or with one of them."""
        return self._run(arguments, {"DRTOOL_RECOVERY_KEY_FILE": str(kit or self.kit)}, code)

    def restore(
        self, volume: str, directory: Path, *arguments: object, code: int | tuple[int, ...] = 0
    ) -> Said:
        return self.operator("restore", volume, "--to-dir", directory, *arguments, code=code)

    def alone(self, *arguments: object, code: int = 0) -> Said:
        """Run a command without the policy and without keys, but for what arguments name; it must end with code."""
        keys = {"AWS_ACCESS_KEY_ID": "SCENE_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY": "SCENE_SECRET_KEY"}
        known = {name: self.environment[ours] for name, ours in keys.items() if ours in self.environment}
        return self._run(arguments, {"DRTOOL_POLICY": None, **known}, code)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a command with the writer's keys in a process of its own."""
        return self._start(arguments, {"DRTOOL_BUNDLE": str(self.bundle)})

    def start_restore(self, volume: str, directory: Path, *arguments: object) -> subprocess.Popen[str]:
        """Start a restore with the recovery kit in a process of its own."""
        keys = {"DRTOOL_RECOVERY_KEY_FILE": str(self.kit)}
        return self._start(("restore", volume, "--to-dir", directory, *arguments), keys)

    def _start(self, arguments: Sequence[object], given: Mapping[str, str]) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DRTOOL_")}
        keys = {"DRTOOL_POLICY": str(self.policy), **given}
        return subprocess.Popen(
            [sys.executable, "-m", "drtool", *map(str, arguments), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean, **self.environment, **keys},
        )

    def end(self, process: subprocess.Popen[str]) -> Said:
        """Wait for a process of start, and return what it said."""
        out, err = process.communicate(timeout=60)
        return self._keep(Said(process.returncode, out, err))

    def _run(
        self, arguments: Sequence[object], keys: Mapping[str, str | None], code: int | tuple[int, ...]
    ) -> Said:
        others = {name: None for name in os.environ if name.startswith("DRTOOL_")}
        result = CliRunner().invoke(
            drtool,
            [*map(str, arguments), "--json"],
            prog_name="drtool",
            env={**others, **self.environment, "DRTOOL_POLICY": str(self.policy), **keys},
        )
        said = self._keep(Said(result.exit_code, result.stdout, result.stderr))
        expected = code if isinstance(code, tuple) else (code,)
        assert said.code in expected, f"{said.code}, not {code}\n{said.out}\n{said.err}"
        if said.code in range(1, 9):
            assert "Traceback" not in said.err
            assert said.code == 4 or said.error["hint"] or said.error["kind"] == "PolicyInvalid", said.out
        return said

    def _keep(self, said: Said) -> Said:
        self.said.append(said.out + said.err)
        return said


def peak_of(process: subprocess.Popen[str]) -> int:
    """Return the largest resident set of a process in bytes, seen while it runs."""
    status, peak, deadline = Path(f"/proc/{process.pid}/status"), 0, time.monotonic() + LONGEST_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        lines = status.read_text().splitlines() if status.exists() else []
        peak = max(peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
        threading.Event().wait(0.02)
    return peak


def s3_repository(s3: S3Settings, endpoint: str | None = None) -> dict[str, object]:
    """Return the repository of a policy: at s3, by the way of another endpoint if one is given."""
    return {
        "url": f"s3://{s3.bucket}/{s3.prefix.strip('/')}",
        "endpoint": endpoint or s3.endpoint,
        "access_key": {"env": "SCENE_ACCESS_KEY"},
        "secret_key": {"env": "SCENE_SECRET_KEY"},
    }


def s3_keys(s3: S3Settings | None) -> dict[str, str]:
    """Return the variables that `s3_repository` names."""
    keys = s3.credentials() if s3 and s3.credentials else None
    return {"SCENE_ACCESS_KEY": keys.access_key, "SCENE_SECRET_KEY": keys.secret_key} if keys else {}


def policy_of(scene: Scene, repository: Mapping[str, object], name: str) -> dict[str, Any]:
    """Return a policy over the servers of scene: both volumes, and a promise that a test can keep."""
    postgres = {
        "name": "postgres",
        "source": "postgres",
        "host": "127.0.0.1",
        "port": scene.postgres.port,
        "user": "postgres",
        "password": {"env": "SCENE_PASSWORD"},
    }
    redis = {
        "name": "redis",
        "source": "redis",
        "host": "127.0.0.1",
        "port": scene.redis.port,
        "allow_master": True,
    }
    return {
        "version": 1,
        "name": name,
        "repository": dict(repository),
        "objectives": {"rpo": "15m", "rto": "1h"},
        "volumes": [postgres, redis],
    }
