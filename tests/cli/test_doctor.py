"""`drtool doctor`: every area is looked at, whatever the others say, and what it prints mends what it found."""

import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from drtool.cli.doctor import answer
from drtool.operations.doctor.keys import kinds_of_keys
from drtool.operations.results import Examination, Finding
from tests.cli.conftest import POLICY, Place, Run, answer_of
from tests.cli.test_answers import shown
from tests.sources.kubernetes.api import Api


def look(run: Run, place: Place, *more: object, **options: Any) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code, and all findings."""
    said = run("doctor", "--policy", place.policy, "--bundle", place.bundle, *more, "--json", **options)
    return said.exit_code, answer_of(said)["examination"]["findings"]


def wrong(findings: list[dict[str, Any]], area: str) -> list[dict[str, Any]]:
    return [found for found in findings if found["area"] == area and found["level"] != "ok"]


def test_an_area_that_is_away_does_not_stop_the_others(run: Run, made: Place) -> None:
    code, findings = look(run, made)
    assert code == 5
    assert [found["level"] for found in wrong(findings, "redis")] == ["error", "error"]
    assert {found["area"] for found in findings} >= {"policy", "store", "keys", "redis"}
    assert not any(found["level"] == "error" for found in findings if found["area"] != "redis")


def test_a_repository_that_is_not_there_is_made_by_the_statement(run: Run, place: Place) -> None:
    _, findings = look(run, place, "--bundle", place.policy)
    (found,) = (found for found in wrong(findings, "store") if found["level"] == "error")
    assert (found["message"], found["where"]) == ("there is no repository", "shell")
    _, *command = shlex.split(found["mend"][0])
    place.bundle.unlink(missing_ok=True)
    files = {"writer.json": str(place.bundle), "kit.txt": str(place.kit)}
    done = run(*(files.get(word, word) for word in command), "--policy", place.policy)
    assert done.exit_code == 0, done.output
    _, findings = look(run, place)
    assert not [found for found in wrong(findings, "store") if found["level"] == "error"]


def test_a_store_that_is_away_and_keys_that_fit_nothing_are_findings(
    run: Run, made: Place, tmp_path: Path
) -> None:
    _, findings = look(run, made, "--bundle", made.kit)
    assert "not one that drtool wrote" in wrong(findings, "store")[0]["message"]
    made.policy.write_text(made.policy.read_text().replace(str(made.store), str(tmp_path / "gone")))
    _, findings = look(run, made)
    (found,) = wrong(findings, "store")
    assert found["level"] == "error"
    assert found["hint"]


def test_a_canary_is_told_only_where_one_was_put(run: Run, made: Place, tmp_path: Path) -> None:
    canary = "but for one canary below probe/"
    assert canary in run("doctor", "--policy", made.policy, "--bundle", made.bundle).output
    made.policy.write_text(made.policy.read_text().replace(str(made.store), str(tmp_path / "gone")))
    said = run("doctor", "--policy", made.policy, "--bundle", made.bundle).output
    assert canary not in said
    assert "the store was not probed" in said


def test_a_volume_that_the_repository_does_not_know_is_said(run: Run, made: Place) -> None:
    made.policy.write_text(
        made.policy.read_text() + "  - {name: other, source: redis, host: 127.0.0.1, port: 1}\n"
    )
    _, findings = look(run, made)
    assert [found["about"] for found in wrong(findings, "store") if found["level"] == "error"] == ["other"]


def test_the_probe_leaves_nothing_and_a_dry_run_does_not_even_begin_it(run: Run, made: Place) -> None:
    before = sorted(made.store.rglob("*"))
    code, findings = look(run, made, "--dry-run")
    assert code == 5
    assert sorted(made.store.rglob("*")) == before
    assert not any("reads back" in found["message"] for found in findings)
    _, findings = look(run, made)
    assert any("an object reads back" in found["message"] for found in findings)
    assert [file for file in made.store.rglob("*") if file.is_file()] == [
        file for file in before if file.is_file()
    ]


def test_a_secret_that_is_missing_is_named_and_never_shown(run: Run, made: Place) -> None:
    text = made.policy.read_text().replace(
        "port: 1", "port: 1, username: {env: WHO}, password: {file: /not/there}"
    )
    made.policy.write_text(text)
    _, findings = look(run, made, env={"WHO": "somebody-secret"})
    (found,) = (found for found in wrong(findings, "policy") if found["level"] == "error")
    assert found["about"] == "redis.password"
    assert "/not/there" in found["message"]
    assert "somebody-secret" not in str(findings)


def test_secrets_of_the_cluster_are_read_where_they_are_mounted(
    run: Run, made: Place, tmp_path: Path
) -> None:
    text = made.policy.read_text().replace("port: 1", "port: 1, password: {secret: s, key: k}")
    made.policy.write_text(f"{text}kubernetes: {{namespace: forum}}\n")
    (tmp_path / "s").mkdir()
    _, findings = look(run, made, env={"DRTOOL_SECRETS": str(tmp_path)})
    assert "redis.password" in [found["about"] for found in wrong(findings, "policy")]
    (tmp_path / "s/k").write_text("word")
    _, findings = look(run, made, env={"DRTOOL_SECRETS": str(tmp_path)})
    assert "redis.password" not in [found["about"] for found in wrong(findings, "policy")]


def test_what_only_a_pod_can_read_is_a_warning_outside(run: Run, made: Place) -> None:
    text = made.policy.read_text().replace("port: 1", "port: 1, password: {secret: s, key: k}")
    made.policy.write_text(f"{text}kubernetes: {{namespace: forum}}\n")
    code, findings = look(run, made, env={"KUBECONFIG": "/not/there"})
    (found,) = wrong(findings, "redis")
    assert (code, found["level"]) == (0, "warning")
    assert "in a pod" in found["hint"]
    assert [each["level"] for each in wrong(findings, "cluster")] == ["warning"]


def test_a_namespace_whose_pods_work_for_another_policy_is_an_error(
    run: Run, made: Place, tmp_path: Path
) -> None:
    forum = f"{made.policy.read_text()}kubernetes: {{namespace: forum}}\n"
    made.policy.write_text(forum)
    at = "/api/v1/namespaces/forum"
    held: dict[str, Any] = {"metadata": {"name": "drtool-policy"}}
    collections = {"/api/v1/namespaces": [{"metadata": {"name": "forum"}}], f"{at}/configmaps": [held]}
    with Api({**collections, f"{at}/pods": [], f"{at}/events": [], f"{at}/secrets": []}) as api:
        api.answers["/version"] = {"gitVersion": "v1.34.4"}
        environment = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}

        def said() -> list[tuple[str, str]]:
            _, findings = look(run, made, env=environment)
            about = "ConfigMap drtool-policy"
            return [(each["level"], each["message"]) for each in findings if each["about"] == about]

        assert said() == []
        held["data"] = {"policy.yaml": forum.replace("name: forum", "name: shop", 1)}
        assert said() == [("error", "the pods in namespace forum work for policy shop, not for forum")]
        held["data"] = {"policy.yaml": forum}
        assert said() == []
        held["data"] = {"policy.yaml": "no policy"}
        assert [level for level, _ in said()] == ["warning"]
        api.forbidden.add(f"{at}/configmaps/drtool-policy")
        assert [level for level, _ in said()] == ["warning"]


def test_secrets_that_nothing_uses_yet_are_not_asked_for(run: Run, made: Place) -> None:
    there = "{url: {file: /not/there}}"
    made.policy.write_text(f"{made.policy.read_text()}notify: [{there}]\nheartbeat: {there}\n")
    _, findings = look(run, made)
    assert not [each for each in findings if "/not/there" in each["message"]]


def test_a_recovery_key_must_not_lie_where_a_writer_is(run: Run, made: Place, tmp_path: Path) -> None:
    (tmp_path / "secrets/kit").mkdir(parents=True)
    (tmp_path / "secrets/kit/kit.txt").write_bytes(made.kit.read_bytes())
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "DRTOOL_SECRETS": str(tmp_path / "secrets")}
    code, findings = look(run, made, env=pod)
    keys = [found for found in wrong(findings, "keys") if "holds a recovery key" in found["message"]]
    assert (code, [found["level"] for found in keys]) == (5, ["error"])
    (tmp_path / "secrets/kit/kit.txt").unlink()
    (tmp_path / "secrets/kit/picture").write_bytes(b"\xff\xfe")
    _, findings = look(run, made, env=pod)
    assert not [found for found in wrong(findings, "keys") if "holds" in found["message"]]
    _, findings = look(run, made, env={"OLD_KIT": made.kit.with_name("kit.admin").read_text()})
    assert [found["level"] for found in wrong(findings, "keys") if "the admin's key" in found["message"]] == [
        "warning"
    ]
    assert "DRTOOL-ADMIN-" not in str(findings)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("DRTOOL-SEED-ABCD", ["a recovery key"]),
        ("DRTOOL-RECIPIENT-ABCD", []),
        ('{"drtool_bundle": 1, "role": "maintainer"}', ["a maintainer's bundle"]),
        ('{"drtool_bundle": 1, "role": "writer"}', []),
    ],
)
def test_what_must_not_lie_beside_a_writer_is_known_by_its_words(text: str, kinds: list[str]) -> None:
    assert kinds_of_keys(text) == kinds


def test_files_that_cannot_be_read_are_said(run: Run, as_user: Path) -> None:
    closed = as_user / "closed"
    closed.mkdir(mode=0)
    (as_user / "open").mkdir()
    policy = as_user / "forum.yaml"
    volumes = (
        ("closed", "path", closed),
        ("open", "path", as_user / "open"),
        ("absent", "path", as_user / "no"),
    )
    lines = [f"  - {{name: {name}, source: files, {kind}: {path}}}\n" for name, kind, path in volumes]
    lines.append("  - {name: claimed, source: files, claim: media}\n")
    head = POLICY.format(store=as_user / "store", port=1).partition("volumes:")[0]
    head += "kubernetes: {namespace: forum}\n"
    policy.write_text(f"{head}volumes:\n{''.join(lines)}")

    said = run("doctor", "--policy", policy, "--json", env={"DRTOOL_CLAIMS": str(as_user / "claims")})

    findings = answer_of(said)["examination"]["findings"]
    files = {found["about"]: found["level"] for found in findings if found["area"] == "files"}
    assert files == {"closed": "error", "open": "ok", "absent": "error", "claimed": "ok"}


def test_a_policy_that_is_no_policy_ends_with_2(run: Run, place: Place) -> None:
    place.policy.write_text("version: 1\n")
    assert run("doctor", "--policy", place.policy).exit_code == 2


ERROR = Finding(
    "postgres", "db", "error", "no right", "Grant it.", ("ALTER ROLE x REPLICATION", "SELECT 1"), "psql"
)
WARNING = Finding("keys", "", "warning", "one recipient", "Name more.")
OK = Finding("store", "s3://b/p", "ok", "it answers")


def test_the_verdict_comes_first_and_then_what_to_do() -> None:
    said = answer(Examination("shop", (OK, ERROR, WARNING), is_probed=True))
    assert (said.verdict, said.exit_code) == ("doctor: shop has 1 error and 1 warning", 5)
    assert said.advice == "First, for db: `ALTER ROLE x REPLICATION` (psql); 1 more thing to mend below."
    text = shown(said)
    assert "error: db: no right\n  Grant it.\n  psql:\n    ALTER ROLE x REPLICATION;\n    SELECT 1;\n" in text
    assert "warning: keys: one recipient\n  Name more.\n" in text
    assert text.endswith("one canary below probe/ in the store.")


def test_warnings_alone_end_with_0() -> None:
    said = answer(Examination("shop", (OK, WARNING), is_probed=False))
    assert (said.verdict, said.exit_code) == ("doctor: shop has 1 warning", 0)
    assert said.advice == "First, for keys: Name more."
    assert shown(said).endswith("the store was not probed.")


def test_nothing_to_mend_is_said() -> None:
    said = answer(Examination("shop", (OK,), is_probed=True))
    assert (said.verdict, said.advice) == ("doctor: shop is well, in 1 check", "There is nothing to do.")
    assert click.unstyle(shown(said)).count("\n\n") == 1
