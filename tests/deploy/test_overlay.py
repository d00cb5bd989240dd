import pytest

from drtool.deploy.overlay import make_overlay
from drtool.errors import UsageError
from drtool.policy.load import parse_policy
from tests.deploy.conftest import TEXT, MakePolicy, with_media


def test_an_overlay_has_a_file_for_each_object_and_lists_them_all(make_policy: MakePolicy) -> None:
    overlay = make_overlay(make_policy(), TEXT, "drtool:1", existing_secrets=False)
    listed = overlay.files["kustomization.yaml"].partition("resources:")[2].partition("generatorOptions")[0]

    assert {line.removeprefix("  - ") for line in listed.split("\n") if line} == (
        set(overlay.files) - {"kustomization.yaml", "policy.yaml"}
    )
    assert overlay.files["policy.yaml"] == TEXT
    assert "cronjob-media.yaml" in listed
    assert "deployment-db.yaml" in listed


def test_drtool_s_own_secrets_are_made_from_files_and_those_of_the_application_never(
    make_policy: MakePolicy,
) -> None:
    borrowed = make_policy(("access_key: {secret: drtool-s3,", "access_key: {secret: django-secrets,"))
    overlay = make_overlay(borrowed, TEXT, "drtool:1", existing_secrets=False)

    assert overlay.secrets == {"drtool-s3": ["secret_key"], "drtool-writer": ["bundle"]}
    assert "secret_key=secrets/drtool-s3/secret_key" in overlay.files["kustomization.yaml"]
    assert "django-secrets" not in overlay.files["kustomization.yaml"]


@pytest.mark.parametrize("name", ["drtool", "backup", "manifests"])
def test_no_name_of_a_volume_hides_an_object(make_policy: MakePolicy, name: str) -> None:
    renamed = make_overlay(
        make_policy(("name: db", f"name: {name}")), TEXT, "drtool:1", existing_secrets=False
    )
    plain = make_overlay(make_policy(), TEXT, "drtool:1", existing_secrets=False)

    assert len(renamed.files) == len(plain.files)
    assert "name: drtool\n" in renamed.files["networkpolicy.yaml"]


def test_secrets_that_exist_are_left_alone(make_policy: MakePolicy) -> None:
    overlay = make_overlay(make_policy(), TEXT, "drtool:1", existing_secrets=True)

    assert overlay.secrets == {}
    assert "secretGenerator" not in overlay.files["kustomization.yaml"]


def test_a_mover_that_runs_as_root_is_named(make_policy: MakePolicy) -> None:
    policy = make_policy(with_media("    pod_security: baseline\n"))

    (note,) = make_overlay(policy, TEXT, "drtool:1", existing_secrets=False).notes
    assert note.startswith("media: its mover runs as root with DAC_OVERRIDE, as its policy says")
    assert make_overlay(make_policy(), TEXT, "drtool:1", existing_secrets=False).notes == ()


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        (
            "  endpoint:",
            "  ca_file: /ca.pem\n  endpoint:",
            "repository: ca_file is /ca.pem, which the image has to",
        ),
        ("    host: p", "    sslrootcert: /ca.pem\n    host: p", "db: sslrootcert is /ca.pem"),
        ("source: redis\n", "source: redis\n    tls: {ca_file: /ca.pem}\n", "cache: tls.ca_file is /ca.pem"),
    ],
)
def test_a_file_that_the_image_has_to_bring_is_named(
    make_policy: MakePolicy, old: str, new: str, note: str
) -> None:
    overlay = make_overlay(make_policy((old, new)), TEXT, "drtool:1", existing_secrets=False)

    assert [each.startswith(note) for each in overlay.notes] == [True]


def test_a_policy_without_a_namespace_is_refused() -> None:
    text = """\
version: 1
name: shop
repository: {url: "s3://backup/shop"}
objectives: {rpo: 15m, rto: 1h}
volumes: [{name: cache, source: redis, host: redis}]
"""
    with pytest.raises(UsageError, match="policy shop names no namespace"):
        make_overlay(parse_policy(text, "shop.yaml"), text, "drtool:1", existing_secrets=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            TEXT[TEXT.index("  url:") : TEXT.index("  writer:")],
            "  url: file:///srv/backup\n",
            "policy shop has its repository in a directory",
        ),
        ("name: media", "name: media-", "volume media- cannot name a Kubernetes object"),
        ("source: files", "source: longhorn", "volume media: source longhorn cannot be captured"),
        ("source: files", "source: csi", "volume media: source csi cannot be captured"),
        ("claim: media-claim", "path: /srv/media", "volume media is a path of a machine"),
        ("{secret: postgres-secrets, key: USER}", "{env: PGUSER}", "db: its user is an environment variable"),
        (
            "{secret: sentinel-secrets, key: PASSWORD}",
            "{file: /etc/password}",
            "cache: its password is an environment variable or a file",
        ),
        ("{secret: drtool-writer, key: bundle}", "{file: b}", "repository: its writer is an environment"),
    ],
)
def test_what_no_pod_can_do_is_refused_for_a_hole_would_be_silent(
    make_policy: MakePolicy, old: str, new: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make_overlay(make_policy((old, new)), TEXT, "drtool:1", existing_secrets=False)

    assert caught.value.message.startswith(message)
    assert caught.value.hint
