import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Run, answer_of
from tests.deploy.conftest import TEXT, with_media

KUBECTL = Path(sys.executable).with_name("kubectl")


def test_render_says_what_to_put_where_and_then_kubectl_understands_it(run: Run, tmp_path: Path) -> None:
    policy, folder = tmp_path / "shop.yaml", tmp_path / "overlay"
    policy.write_text(TEXT)

    result = run("render", "--policy", policy, "--image", "registry.example/drtool:1", "--output", folder)
    assert result.exit_code == 0
    verdict, advice, *_ = result.stdout.splitlines()
    assert verdict == f"render: shop has 17 files in {folder}: 17 written"
    assert advice == f"Put the missing files there, then apply it: kubectl apply -k {folder}"
    assert "secrets/drtool-writer/bundle" in result.stdout

    for name in ("drtool-s3/access_key", "drtool-s3/secret_key", "drtool-writer/bundle"):
        (folder / "secrets" / name).write_text("…")
    result = run("render", "--policy", policy, "--image", "registry.example/drtool:1", "--output", folder)
    assert result.stdout.splitlines()[:2] == [
        f"render: shop has 17 files in {folder}: all as they were",
        f"Apply it: kubectl apply -k {folder}",
    ]
    said = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=True).stdout
    assert said.count("kind: CronJob") == 4
    subjects = 2
    assert said.count("\n  namespace: shop\n") == said.count("\nkind: ") + subjects


def test_a_dry_run_says_so(run: Run, tmp_path: Path) -> None:
    policy = tmp_path / "shop.yaml"
    policy.write_text(TEXT)

    result = run("render", "--policy", policy, "--output", tmp_path / "new", "--dry-run", "--json")
    answer = answer_of(result)
    assert (answer["schema"], answer["dry_run"]) == ("drtool/render/v1", True)
    assert "cronjob-media.yaml" in answer["render"]["written"]
    said = run("render", "--policy", policy, "--output", tmp_path / "new", "--dry-run").stdout.splitlines()
    assert said[1] == "Nothing was written; run it without --dry-run."


def test_a_note_is_said(run: Run, tmp_path: Path) -> None:
    policy = tmp_path / "shop.yaml"
    old, new = with_media("    pod_security: baseline\n")
    policy.write_text(TEXT.replace(old, new))

    result = run("render", "--policy", policy, "--output", tmp_path / "new")
    assert "note: media: its mover runs as root" in result.stdout
