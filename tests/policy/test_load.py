import json
import os
import re
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drtool.errors import PolicyInvalid, UsageError
from drtool.policy.load import NODE_LIMIT, SIZE_LIMIT, load_policy, parse_policy

GOOD = """\
version: 1
name: forum
repository: {url: "s3://bucket/forum"}
objectives: {rpo: 15m, rto: 1h}
volumes:
  - name: db
    source: postgres
    host: db
    user: drtool
    password: {env: PGPASSWORD}
  - {name: redis, source: redis, host: redis}
"""


def faults(text: str) -> list[str]:
    """Return the first lines of all faults: place, path, fault."""
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(text, "p.yaml")
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return [line for line in caught.value.message.splitlines() if line.startswith("p.yaml")]


def test_a_good_policy_is_read() -> None:
    policy = parse_policy(GOOD, "p.yaml")
    assert policy.name == "forum"
    assert [volume.name for volume in policy.volumes] == ["db", "redis"]


def test_all_faults_come_at_once_with_their_line_a_caret_and_a_suggestion() -> None:
    """Faults of every kind, in one go: the golden answer to a bad policy."""
    here = Path(__file__).parent / "golden"
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy((here / "bad-policy.yaml").read_text(encoding="utf-8"), "bad-policy.yaml")
    assert caught.value.message + "\n" == (here / "bad-policy.faults").read_text(encoding="utf-8")
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter" not in shown


def test_each_volume_is_looked_at_though_the_source_of_many_is_misspelled() -> None:
    """All of them at once: a look at each for itself would begin a look at all others, and never come to an end."""
    volume = "  - {{name: v{}, source: file, claim: c, window: hunter2}}\n"
    head = GOOD[: GOOD.index("volumes:")]
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(f"{head}volumes:\n{''.join(map(volume.format, range(30)))}", "p.yaml")
    assert caught.value.message.count("did you mean files?") == 30
    assert caught.value.message.count(".window: is not a duration") == 30


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "p.yaml:1:1: is empty"),
        ("# nothing but a comment\n", "p.yaml:1:1: is empty"),
        ("[1]", "p.yaml:1:1: must be a mapping"),
        ("a: [1\nb: 2", "p.yaml:2:2: is not YAML: expected ',' or ']', but got ':'"),
        ("a: 1\n---\nb: 2", "p.yaml:2:1: is not YAML: but found another document"),
        ("a:\n\t- b", "p.yaml:2:1: is not YAML: a tab, where only spaces may stand"),
        ("a:\n  b: 1\n  \tc: 2", "p.yaml:3:3: is not YAML: a tab, where only spaces may stand"),
        ("a: 1\nb:\tc", "p.yaml:2:3: is not YAML: a tab, where only spaces may stand"),
        ("a: 1\nb: @\t", "p.yaml:2:4: is not YAML: found character '@' that cannot start any token"),
        ("a: 1\nb: x\x07", "p.yaml:2:5: is not YAML: a character that cannot be printed"),
        ("a: *hunter2", "p.yaml:1:4: is not YAML: found undefined alias"),
        ("[" * 600, "p.yaml:1:1: is nested too deeply"),
        ("x" * (SIZE_LIMIT + 1), f"p.yaml: is longer than {SIZE_LIMIT} characters, which no policy is"),
    ],
    ids=[
        "empty",
        "comment",
        "list",
        "syntax",
        "documents",
        "tab",
        "tab behind spaces",
        "tab behind a key",
        "tab that is not at fault",
        "control",
        "alias",
        "deep",
        "long",
    ],
)
def test_what_is_not_even_a_mapping_is_one_fault(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_an_alias_to_itself_and_a_bomb_of_aliases_are_refused_at_once() -> None:
    assert "is nested too deeply, or multiplied" in faults("&a [*a]")[0]
    bomb = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert NODE_LIMIT < 10**8
    assert len([fault for fault in faults("\n".join(bomb)) if "multiplied too often" in fault]) == 1


def test_anchors_may_be_used_to_say_a_thing_once() -> None:
    text = GOOD.replace("{env: PGPASSWORD}", "&p {env: PGPASSWORD}")
    text = text.replace("host: redis}", "host: &h redis, password: *p, username: *h}")
    assert parse_policy(text, "p.yaml").volumes[1].model_dump()["password"] == {"env": "PGPASSWORD"}


def test_a_key_given_twice_is_a_fault_wherever_it_is() -> None:
    assert faults(GOOD + "name: other\n") == ["p.yaml:12:1: name: is given twice, first in line 2"]
    assert faults(GOOD.replace("{rpo: 15m", "{rpo: 1h, rpo: 15m")) == [
        "p.yaml:4:23: objectives.rpo: is given twice, first in line 4"
    ]


def test_a_key_that_is_no_text_is_a_fault() -> None:
    assert faults(GOOD + "{{ template }}: 1\n")[0].startswith("p.yaml:1:1: has a key that is no text")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("rpo: 15m", "rpo: 15", "4:14: objectives.rpo: is not a duration"),
        ("rpo: 15m", "rpo: 0s", "4:14: objectives.rpo: a duration must be longer than zero here"),
        ("rpo: 15m", "rpo: ~", "4:14: objectives.rpo: is not a duration"),
        ("version: 1", "version: 2", "1:1: version: must be 1"),
        ("name: forum", "name: 2024-01-01x_", "2:1: name: must be 1 to 25 characters of a-z, 0-9 and -"),
        ("name: forum", "name: 1.5", "2:1: name: must be text"),
        ("name: forum", "name: 0x1F", "2:1: name: must be 1 to 25 characters of a-z, 0-9 and -"),
        ("host: db\n", "port: many\n    host: db\n", "8:5: volumes[0].port: must be a whole number"),
        ("host: db\n", "port: 1.5\n    host: db\n", "8:5: volumes[0].port: must be a whole number"),
        (
            "host: db\n",
            "port: 70000\n    host: db\n",
            "8:5: volumes[0].port: must be less than or equal to 65535",
        ),
        ("host: db\n", "host: ''\n", "8:5: volumes[0].host: must not be empty"),
        ("    host: db\n", "", "6:5: volumes[0].host: is missing"),
        ("    source: postgres\n", "", "6:5: volumes[0].source: is missing"),
        (
            "    source: postgres\n",
            "    source: postgre\n",
            "7:5: volumes[0].source: must be postgres, redis,",
        ),
        ("host: db\n", "slot_limit: 8\n    host: db\n", "8:5: volumes[0].slot_limit: is not a size"),
        ("host: db\n", "slot_limit: 8GB\n    host: db\n", "8:5: volumes[0].slot_limit: is not a size"),
        (
            "host: db\n",
            "slot_limit: 8GiB\n    on_backlog: protect-rpo\n    host: db\n",
            "6:5: volumes[0]: slot_limit and on_backlog: protect-rpo contradict each other",
        ),
        ("host: redis}", "}", "11:5: volumes[1]: needs exactly one of host and sentinel"),
        (
            "host: redis}",
            "allow_master: 5, host: x}",
            "11:34: volumes[1].allow_master: must be true or false",
        ),
        (
            "host: redis}",
            "tls: {cert_file: c}, host: x}",
            "11:34: volumes[1].tls: cert_file and key_file belong",
        ),
        ("host: redis}", "tls: 5, host: x}", "11:34: volumes[1].tls: must be a mapping"),
        ("host: redis}", "host: x, proofs: 5}", "11:43: volumes[1].proofs: unknown key"),
        (
            "s3://bucket/forum",
            "ftp://bucket",
            "3:14: repository.url: must be s3://BUCKET/PREFIX or file:///DIRECTORY",
        ),
        ("s3://bucket/forum", "s3:///forum", "3:14: repository.url: must be s3://BUCKET/PREFIX"),
        ("s3://bucket/forum", "file://host/x", "3:14: repository.url: must be s3://BUCKET/PREFIX"),
        ("s3://bucket/forum", "s3://b/p?x=1", "3:14: repository.url: must end with the path"),
        (
            "s3://bucket/forum",
            "s3://me:hunter2@b",
            "3:14: repository.url: a secret is never written into a policy",
        ),
    ],
)
def test_a_fault_has_its_place_and_says_what_is_wrong(old: str, new: str, fault: str) -> None:
    found = faults(GOOD.replace(old, new))
    assert any(line.startswith(f"p.yaml:{fault}") for line in found), found


@pytest.mark.parametrize(
    "line",
    [
        "    password: hunter2",
        "    password: 'hunter2'",
        "    password:\n      hunter2",
        "    password: |\n      hunter2\n      hunter3",
        "    password: {evn: hunter2}",
        "    password: [hunter2]",
        "    password: {hunter2}",
        "    pwd: hunter2",
        "    whatever: hunter2",
        "    password: *hunter2",
        "    password: {env: A, fiel: hunter2}",
        '    password: "hunter2',
        "    password: hunter2: x",
        "    user: {evn: hunter2}",
    ],
)
def test_a_secret_in_the_wrong_place_is_never_shown(line: str) -> None:
    text = GOOD.replace("    password: {env: PGPASSWORD}", line)
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(text, "p.yaml")
    assert "hunter" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("{env: A, file: hunter2}", ["10:24: volumes[0].password.file: names a second place, beside env"]),
        ("{file: /hunter2, env: A}", ["10:16: volumes[0].password.file: names a second place, beside env"]),
        (
            "{file: /a, secret: hunter2}",
            ["10:26: volumes[0].password.secret: names a second place, beside file"],
        ),
    ],
)
def test_a_reference_to_two_places_is_said_to_be_that(reference: str, found: list[str]) -> None:
    text = GOOD.replace("{env: PGPASSWORD}", reference)
    assert faults(text) == [f"p.yaml:{fault}" for fault in found]
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(text, "p.yaml")
    assert "hunter" not in caught.value.message


def test_a_file_that_is_not_there_or_no_text_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read: No such file or directory") as caught:
        load_policy(tmp_path / "none.yaml")
    assert not isinstance(caught.value, PolicyInvalid)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_policy(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: x\n  a: \xe9\n")
    with pytest.raises(PolicyInvalid, match=re.escape(f"{latin}:2:6: is not UTF-8 text")):
        load_policy(latin)


def test_a_file_is_read_with_a_byte_order_mark_and_foreign_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_policy(path).name == "forum"


def test_a_file_without_an_end_is_not_read_to_the_end() -> None:
    with pytest.raises(PolicyInvalid, match="is longer than"):
        load_policy(Path(os.devnull).with_name("zero"))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.sampled_from(["", "db", "15m", "postgres", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "source",
                    "volumes",
                    "recovery",
                    "order",
                    "tiers",
                    "probes",
                    "env",
                    "secret",
                    "key",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = [
    "version",
    "repository",
    "objectives",
    "kubernetes",
    "volumes",
    "recovery",
    "drill",
    "notify",
    "retention",
]


@given(st.dictionaries(st.sampled_from(KEYS), plain))
@settings(max_examples=300, deadline=None)
def test_whatever_a_policy_holds_the_answer_is_a_policy_or_its_faults(changes: dict[str, Any]) -> None:
    head = "\n".join(line for line in GOOD.splitlines()[:4] if line.split(":")[0] not in changes)
    text = head + "\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in changes.items()) + "\n"
    with suppress(PolicyInvalid):
        parse_policy(text, "p.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "heartbeat: https://hc-ping.com/hunter2",
        "heartbeat: hunter2",
        "notify: https://hooks.example.org/hunter2",
        "notify: [slack://hunter2]",
        "notify: [hunter2]",
        'notify: [{url: "https://hooks.example.org/hunter2"}',
        'notify: [{url: "https://hooks.example.org/hunter2" on: [failure]}]',
        "notify:\n  - url: https://hooks.example.org/hunter2\n   on: [failure]",
    ],
)
def test_who_is_told_where_is_not_shown(text: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(f"{GOOD}{text}\n", "p.yaml")
    assert "p.yaml:" in caught.value.message
    assert "hunter2" not in caught.value.message
