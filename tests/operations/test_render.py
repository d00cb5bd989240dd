from pathlib import Path

import pytest

from drtool.errors import DrtoolError, Refused
from drtool.operations.render import RenderOptions, run_render
from tests.deploy.conftest import TEXT

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "k8s/overlays").iterdir())
IMAGE = "registry.example/drtool:1"
OPTIONS = RenderOptions(IMAGE)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(TEXT)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "overlay"


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_overlays_of_the_project_are_what_render_writes(name: str, tmp_path: Path) -> None:
    """Written anew by drtool render --policy policies/NAME.yaml --image IMAGE --output k8s/overlays/NAME."""
    run_render(ROOT / f"policies/{name}.yaml", tmp_path, OPTIONS)

    assert contents(tmp_path) == contents(ROOT / "k8s/overlays" / name)


def test_every_policy_of_the_project_has_its_overlay() -> None:
    assert [path.stem for path in sorted((ROOT / "policies").glob("*.yaml"))] == EXAMPLES


def test_a_second_render_changes_nothing(policy: Path, folder: Path) -> None:
    first = run_render(policy, folder, OPTIONS)
    before = contents(folder)
    second = run_render(policy, folder, OPTIONS)

    assert first.unchanged == ()
    assert (second.written, second.removed) == ((), ())
    assert second.unchanged == first.written
    assert contents(folder) == before


def test_a_folder_with_the_overlay_of_another_policy_is_refused(policy: Path, folder: Path) -> None:
    run_render(policy, folder, OPTIONS)
    before = contents(folder)
    policy.write_text(TEXT.replace("name: shop", "name: forum", 1))

    with pytest.raises(Refused, match="holds the overlay of policy shop, not of forum"):
        run_render(policy, folder, OPTIONS)
    assert contents(folder) == before

    (folder / "policy.yaml").write_text("what is no policy")
    with pytest.raises(Refused, match=r"policy\.yaml changed since"):
        run_render(policy, folder, OPTIONS)


def test_what_a_person_changed_is_not_overwritten_and_then_nothing_is(policy: Path, folder: Path) -> None:
    run_render(policy, folder, OPTIONS)
    changed = folder / "cronjob-media.yaml"
    changed.write_text(changed.read_text().replace("Forbid", "Allow"))
    before = contents(folder)

    with pytest.raises(Refused, match=r"cronjob-media\.yaml changed since") as caught:
        run_render(policy, folder, RenderOptions("other:2"))
    assert "--force" in caught.value.hint
    assert contents(folder) == before

    run_render(policy, folder, RenderOptions(IMAGE, force=True))
    assert "Allow" not in changed.read_text()


def test_a_file_of_another_s_is_not_overwritten(policy: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: []\n")

    with pytest.raises(Refused, match=r"kustomization\.yaml"):
        run_render(policy, folder, OPTIONS)


def test_the_files_of_a_volume_that_is_gone_go_too_and_others_stay(policy: Path, folder: Path) -> None:
    run_render(policy, folder, OPTIONS)
    (folder / "patch.yaml").write_text("mine\n")
    (folder / "secrets/drtool-writer/bundle").write_text("keys")
    policy.write_text(TEXT.replace("  - name: media\n    source: files\n    claim: media-claim\n", ""))

    result = run_render(policy, folder, OPTIONS)

    assert result.removed == ("cronjob-media.yaml",)
    assert not (folder / "cronjob-media.yaml").exists()
    assert {"patch.yaml", "secrets/drtool-writer/bundle"} <= contents(folder).keys()


def test_a_dry_run_writes_nothing(policy: Path, folder: Path) -> None:
    result = run_render(policy, folder, RenderOptions(IMAGE, dry_run=True))

    assert "kustomization.yaml" in result.written
    assert not folder.exists()


def test_missing_secrets_are_named_until_they_are_there_and_git_ignores_them(
    policy: Path, folder: Path
) -> None:
    result = run_render(policy, folder, OPTIONS)
    assert result.secrets == tuple(
        f"secrets/{name}" for name in ("drtool-s3/access_key", "drtool-s3/secret_key", "drtool-writer/bundle")
    )
    for name in result.secrets:
        (folder / name).write_text("…")

    assert run_render(policy, folder, OPTIONS).secrets == ()
    assert "\n*\n" in (folder / "secrets/.gitignore").read_text()


def test_with_existing_secrets_there_is_no_folder_for_them(policy: Path, folder: Path) -> None:
    result = run_render(policy, folder, RenderOptions(IMAGE, existing_secrets=True))

    assert result.secrets == ()
    assert not (folder / "secrets").exists()


def test_the_policy_that_render_wrote_can_be_rendered_again(policy: Path, folder: Path) -> None:
    run_render(policy, folder, OPTIONS)

    result = run_render(folder / "policy.yaml", folder, OPTIONS)
    assert result.written == ()


def test_a_folder_that_cannot_be_written_is_named(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DrtoolError, match="file"):
        run_render(policy, tmp_path / "file", OPTIONS)
