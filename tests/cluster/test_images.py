import re
import subprocess
from pathlib import Path

import pytest

from drtool.errors import UsageError
from tests.cluster.images import FOLDER, IMAGES, Image, archive, drtool, image_key
from tests.cluster.images.buildah import stage

CONTAINERFILES = sorted(FOLDER.glob("*/Containerfile"))
DRTOOLS_OWN = {"drtool-packages", "drtool"}  # of k8s/image/Containerfile
SCRIPTS = sorted(path for path in FOLDER.glob("*/*") if path.read_bytes().startswith(b"#!/bin/sh"))


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Image]:
    """A base and a server that stands on it, which copies a folder from elsewhere."""
    files = {
        "images/base/Containerfile": "FROM scratch\nCOPY motd /etc/motd\n",
        "images/base/motd": "hello",
        "images/server/Containerfile": "FROM drtool.test/base\nCOPY site /srv\n",
        "site/pages/index.html": "<p>",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    folder = tmp_path / "images"
    server = Image("server", {"site": lambda: tmp_path / "site"}, folder)
    return {"base": Image("base", folder=folder), "server": server}


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("images/base/Containerfile", {"base", "server"}),
        ("images/base/motd", {"base", "server"}),
        ("images/base/added", {"base", "server"}),
        ("images/server/Containerfile", {"server"}),
        ("site/pages/index.html", {"server"}),
        ("site/added", {"server"}),
        ("site/pages/__pycache__/index.pyc", set()),
    ],
)
def test_a_key_changes_with_each_file_of_the_image_and_of_its_parent(
    images: dict[str, Image], tmp_path: Path, path: str, changed: set[str]
) -> None:
    before = {name: image_key(name, images) for name in images}
    (tmp_path / path).parent.mkdir(exist_ok=True)
    with (tmp_path / path).open("a") as file:
        file.write("\n")
    assert {name for name in images if image_key(name, images) != before[name]} == changed


def test_a_key_changes_when_a_file_becomes_a_program_and_not_with_the_umask(
    images: dict[str, Image], tmp_path: Path
) -> None:
    motd = tmp_path / "images/base/motd"
    motd.chmod(0o644)
    before = image_key("base", images)
    motd.chmod(0o600)
    assert image_key("base", images) == before
    motd.chmod(0o755)
    assert image_key("base", images) != before


def test_a_key_changes_when_a_file_is_moved(images: dict[str, Image], tmp_path: Path) -> None:
    before = image_key("server", images)
    (tmp_path / "site/pages/index.html").rename(tmp_path / "site/index.html")
    assert image_key("server", images) != before


def test_staged_files_have_modes_that_do_not_depend_on_the_checkout(tmp_path: Path) -> None:
    for name, mode in (("text", 0o600), ("program", 0o700)):
        (tmp_path / name).touch(mode)
        (tmp_path / name).chmod(mode)
    stage({"text": tmp_path / "text", "bin/program": tmp_path / "program"}, tmp_path / "context")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "context").rglob("*")}
    assert modes == {"text": 0o644, "bin": 0o755, "program": 0o755}


def test_an_archive_of_an_unknown_image_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(UsageError, match="no image mysql") as caught:
        archive("mysql")
    assert "postgres" in caught.value.hint


def test_every_folder_with_a_containerfile_is_an_image_and_the_reverse() -> None:
    assert {path.parent.name for path in CONTAINERFILES} == set(IMAGES) - DRTOOLS_OWN


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_stands_on_one_that_is_listed_before_it(name: str) -> None:
    earlier = list(IMAGES)[: list(IMAGES).index(name)]
    assert IMAGES[name].parent in {None, *earlier}


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_a_containerfile_copies_what_its_context_has(path: Path) -> None:
    image = IMAGES[path.parent.name]
    there = {each.name for each in path.parent.iterdir()} | set(image.elsewhere)
    copied = [
        name
        for names in re.findall(r"^(?:COPY|ADD) (.+) \S+$", path.read_text(), re.MULTILINE)
        for name in names.split()
    ]
    assert set(copied) | {"Containerfile"} == there


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_an_image_does_not_run_as_root(path: Path) -> None:
    users = re.findall(r"^USER (.+)$", path.read_text(), re.MULTILINE)
    assert path.parent.name == "base" or re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_is_a_program_that_sh_can_parse(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", path], check=True)


def test_drtool_s_containerfile_is_the_one_of_its_users_stage_by_stage() -> None:
    whole = drtool.CONTAINERFILE.read_text()
    last = IMAGES["drtool"].context()["Containerfile"].read_text()

    assert IMAGES[drtool.PACKAGES].context()["Containerfile"] == drtool.CONTAINERFILE
    assert whole.endswith(last)
    assert re.findall(r"^FROM (.+)$", whole, re.MULTILINE) == ["${BASE} AS packages", "packages"]
    assert re.findall(r"^FROM (.+)$", last, re.MULTILINE) == ["packages"]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert (IMAGES["drtool"].parent, IMAGES[drtool.PACKAGES].parent) == (drtool.PACKAGES, drtool.BASE)


def test_what_drtool_s_containerfile_copies_is_not_ignored_and_nothing_else_is_sent() -> None:
    copied = re.findall(r"^COPY (\S+) ", drtool.CONTAINERFILE.read_text(), re.MULTILINE)
    ignored = (drtool.ROOT / ".containerignore").read_text().splitlines()

    assert [line for line in ignored if not line.startswith("#")] == [
        "*",
        *(f"!{name}" for name in sorted(copied)),
        "**/__pycache__",
    ]
