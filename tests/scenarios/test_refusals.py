"""What a restore into a cluster refuses, by the command itself: how it ends, what it says, and nothing written."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drtool.operations.session import KeyFiles, Silent, Where, World, open_session
from drtool.repository.config import RecipientEntry
from drtool.repository.enrol import add_recipient
from drtool.repository.kit import RecoveryLine, parse_recovery, parse_seed
from drtool.repository.runs import put_run
from drtool.repository.trial import Trial, try_point
from tests.faults.stores import flipped
from tests.scenarios.commands import Commands, Said
from tests.scenarios.shop_kept import SECRET, shop_kept
from tests.scenarios.shop_lost import UID, Way
from tests.scenarios.targets import CLASSES, empty, put, serve, storage_class
from tests.sources.files.trees import clock
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import Living, well
from tests.sources.kubernetes.shop import REVIEWS, at, item

IMAGES = "/api/v1/namespaces/drtool-images-"  # where images are looked at, and nothing else is
MOVERS = "what moves media in the cluster"
NEXT = "20991231T000000.000000Z"


@dataclass(frozen=True)
class Stage:
    """A shop that was captured, with its files; a copy of its repository that may be harmed; and an empty cluster."""

    way: Way
    store: Path
    folder: Path

    @property
    def url(self) -> str:
        return f"file://{self.store}"

    @property
    def target(self) -> Living:
        return self.way.target

    def newest(self, family: str) -> Path:
        """Return the newest object of a family, which may go on: snap/media."""
        found = [path for path in self.store.glob(f"{family}/**/*") if path.is_file()]
        return max(found, key=lambda path: (path.stat().st_mtime_ns, path))

    def lose(self, family: str) -> None:
        for path in [path for path in self.store.glob(f"{family}/**/*") if path.is_file()]:
            path.unlink()

    def damage(self, family: str) -> None:
        """Have the newest object of a family answer with other bytes than were written, of the same length."""
        path = self.newest(family)
        value, times = path.read_bytes(), path.stat()
        path.unlink()
        path.write_bytes(flipped(value, len(value) // 2))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def stored(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.store.glob("**/*") if path.is_file()}

    def forbid(self, *resources: str) -> None:
        """Let this user do everything with all but these."""

        def allowed(review: Json) -> Json:
            asked = review["spec"]["resourceAttributes"]
            return {"status": {"allowed": asked["resource"] not in (*resources, "*")}}

        self.target.answers[REVIEWS] = allowed

    def has_images(self, **said: str) -> None:
        """Have the pod that looks at an image end with what is said of it; of others that it cannot be pulled."""

        def status(pod: Json) -> Json:
            if pod["kind"] != "Pod":
                return well(pod)
            image = pod["spec"]["containers"][0]["image"].partition(":")[0]
            waiting = {"reason": "ErrImageNeverPull", "message": "not here"}
            state = (
                {"terminated": {"exitCode": 0, "message": said[image]}}
                if image in said
                else {"waiting": waiting}
            )
            return {"containerStatuses": [{"name": "probe", "state": state}]}

        self.target.becomes = status

    def reasons(self) -> list[str]:
        """Return what speaks against a plan of it all, beside that its repository is a directory."""
        found = self.way("--dry-run", code=5).value["plan"]["refusals"]
        assert len([each for each in found if each["about"] == MOVERS]) == 1
        return [each["message"] for each in found if each["about"] != MOVERS]

    @property
    def recovery(self) -> RecoveryLine:
        return parse_recovery(self.way.drtool.kit.read_text())

    def kit(self, *lines: str, others: str = "RECOVERY OPERATOR") -> Path:
        """Return a kit's file of these lines, and of those of the true kit whose kinds are named."""
        true = self.way.drtool.kit.read_text().splitlines()
        kept = [line for line in true if any(line.startswith(f"DRTOOL-{kind}-") for kind in others.split())]
        file = self.folder / "kit.txt"
        file.write_text("\n".join([*lines, *kept]))
        return file


Harm = Callable[[Stage], list[object] | None]


@dataclass(frozen=True)
class Refusal:
    """What is wrong, and what is said of it. about stands in the message, hint in the hint."""

    harm: Harm
    about: str
    hint: str
    code: int = 5
    volumes: Sequence[str] = ()  # that alone are to come back; all of them, where there are none
    looks_at_images: bool = False


def another_kit(stage: Stage) -> list[object]:
    """Return the options of the kit of another system's repository."""
    (stage.folder / "unused").mkdir()
    repository = {"url": f"file://{stage.folder}/unused"}
    other = Commands(stage.folder / "other", {**stage.way.drtool.content, "repository": repository}, {})
    other.written().init()
    return ["--recovery-key-file", other.kit]


def mistyped(stage: Stage) -> list[object]:
    line = stage.recovery.text()
    first = len("DRTOOL-RECOVERY-")  # the last character may hold nothing but padding
    wrong = line[:first] + ("B" if line[first] == "A" else "A") + line[first + 1 :]
    return ["--recovery-key-file", stage.kit(wrong, others="OPERATOR")]


def unknown_key(stage: Stage) -> list[object]:
    """Return the options of a key that knows the repository, and that nothing in it was ever sealed to."""
    key = RecoveryLine(b"t" * 32, stage.recovery.trust)
    return ["--recovery-key-file", stage.kit(key.text(), others="OPERATOR")]


def later_key(stage: Stage) -> list[object]:
    """Return the options of a recipient who came after the points, and for whom nobody wrapped their keys."""
    kit = stage.way.drtool.kit
    key = RecoveryLine(b"t" * 32, stage.recovery.trust)
    entry = RecipientEntry("later", key.key.recipient.public.hex())
    admin = parse_seed(kit.with_name(f"{kit.name}.admin").read_text(), "ADMIN")
    with closing(
        open_session(None, Where(stage.url), KeyFiles(recovery=kit), World(clock, {}, Silent()))
    ) as session:
        repository = session.repository
        add_recipient(repository, stage.recovery.key, admin, entry, repository.store.now())
    return ["--recovery-key-file", stage.kit(key.text(), others="OPERATOR")]


def no_room(stage: Stage) -> None:
    room = item("here", storageClassName="fast", capacity="1Mi")
    serve(stage.target, "storage.k8s.io", "CSIStorageCapacity", "csistoragecapacities", room, namespaced=True)


def small_quota(stage: Stage) -> None:
    quota = item("small", spec={"hard": {"requests.storage": "1Mi"}}, status={"used": {}})
    kinds = stage.target.answers["/api/v1"]["resources"]
    kinds.append({"name": "resourcequotas", "kind": "ResourceQuota", "namespaced": True, "verbs": ["list"]})
    stage.target.collections[at("resourcequotas")] = [quota]


def no_class(stage: Stage) -> None:
    stage.target.collections[CLASSES] = [storage_class("mine")]


def unserved(stage: Stage) -> None:
    groups = stage.target.answers["/apis"]["groups"]
    groups[:] = [each for each in groups if each["name"] != "networking.k8s.io"]


def older_kubernetes(stage: Stage) -> None:
    stage.target.answers["/version"] = {"gitVersion": "v1.28.9"}


def in_use(stage: Stage) -> None:
    volume = {"name": "x", "persistentVolumeClaim": {"claimName": "media"}}
    put(stage.target, at("pods"), item("web-1", spec={"volumes": [volume]}, status={"phase": "Running"}))


def there_already(stage: Stage) -> None:
    put(stage.target, at("configmaps"), {**item("settings"), "data": {"colour": "theirs"}})


def going(stage: Stage) -> None:
    namespace = {"metadata": {"name": "shop", "uid": "x"}, "status": {"phase": "Terminating"}}
    put(stage.target, "/api/v1/namespaces", namespace)


def misfit(stage: Stage) -> None:
    """Have a server whose Ingress lacks a field: it answers 500 to that, and in whichever namespace it is asked."""

    def refuses(sent: Json) -> tuple[int, str] | None:
        metadata = sent["metadata"]
        where = f"({metadata.get('namespace')}/{metadata['name']}; networking.k8s.io/v1, Kind=Ingress)"
        said = f"failed to create typed patch object {where}: .spec.odd: field not declared in schema"
        return (500, said) if sent["kind"] == "Ingress" else None

    refuses_all(stage, refuses)


def unwelcome(stage: Stage) -> None:
    """Have a namespace whose policy lets in no Deployment, and whose webhook takes no ConfigMap."""
    found = {"name": "shop", "uid": "x", "resourceVersion": "1", "generation": 1}
    there = {"metadata": found, "status": {"phase": "Active"}}
    put(stage.target, "/api/v1/namespaces", there)
    said = {
        "Deployment": (422, "ValidatingAdmissionPolicy 'calm' with binding 'calm' denied request: too many"),
        "ConfigMap": (403, 'admission webhook "no.example" denied the request: no'),
    }
    refuses_all(stage, lambda sent: said.get(sent["kind"]))


def refuses_all(stage: Stage, refuses: Callable[[Json], tuple[int, str] | None]) -> None:
    """Have what is applied refused, be it tried or written."""
    stage.target.tries = refuses
    stage.target.refuses = lambda method, sent: refuses(sent) if method == "PATCH" else None


REFUSALS: dict[str, Refusal] = {
    "a context that nobody configured": Refusal(
        lambda _stage: ["--to-cluster", "elsewhere"], "no cluster is configured", "name a context", code=2
    ),
    "another cluster than was meant": Refusal(
        lambda _stage: ["--confirm-target", "another"],
        "--confirm-target another is not here, whose uid is uid-of-new",
        "nothing was touched",
        volumes=["objects"],
    ),
    "the kit of another repository": Refusal(
        another_kit, "the recovery key belongs to another repository", "look at the URL"
    ),
    "a recovery key that was mistyped": Refusal(
        mistyped, "the recovery key is mistyped", "group by group", code=2
    ),
    "a recovery key that nothing was sealed to": Refusal(
        unknown_key, "the recovery key is not among the recipients", "Use the kit of one of them"
    ),
    "a recovery key that came after the points": Refusal(
        later_key,
        "volume media cannot be read: run ",
        "use the recovery key of one who was there before",
        volumes=["media"],
    ),
    "a kit without the operator's key": Refusal(
        lambda stage: ["--recovery-key-file", stage.kit(others="RECOVERY")],
        "no key that may sign",
        "DRTOOL-OPERATOR-",
    ),
    "a class without the room": Refusal(no_room, "storage class fast has 1 MiB left", "Make room"),
    "a quota without the room": Refusal(small_quota, "quota small is too small", "Raise it"),
    "a class that is not there": Refusal(
        no_class, "storage class fast is not there", "--storage-class fast=NEW"
    ),
    "no right to make Secrets": Refusal(
        lambda stage: stage.forbid("secrets"),
        "does not let you create, get, patch, update, delete and list secrets",
        "administrator",
    ),
    "no right to keep movers from others": Refusal(
        lambda stage: stage.forbid("networkpolicies"),
        "does not let you create, get, list, patch and delete networkpolicies",
        "administrator",
    ),
    "an API that is not served": Refusal(
        unserved, "Ingress web", "Write it for a version that the target serves"
    ),
    "a Kubernetes that is too old": Refusal(older_kubernetes, "is Kubernetes v1.28.9", "Upgrade it"),
    "a claim that somebody uses": Refusal(in_use, "claim media is in use by web-1", "Stop what uses it"),
    "an object that is there": Refusal(there_already, "ConfigMap settings is there already", "--if-exists"),
    "an object that does not fit the schema": Refusal(
        misfit,
        "Ingress shop/web is refused by the target: failed to create typed patch object (shop/web;",
        "--if-exists keep",
        volumes=["objects"],
    ),
    "an object that a policy does not let in": Refusal(
        unwelcome,
        "Deployment shop/web is refused by the target: ValidatingAdmissionPolicy 'calm'",
        "--if-exists keep",
        volumes=["objects"],
    ),
    "another object that a webhook does not let in": Refusal(
        unwelcome,
        "ConfigMap shop/settings is refused by the target: admission webhook",
        "change the rule, or the object",
        volumes=["objects"],
    ),
    "a namespace that is being deleted": Refusal(going, "namespace shop is being deleted", "finalizers"),
    "a store without the repository": Refusal(
        lambda stage: stage.lose("config"), "there is no repository in the store", "Look at the URL", code=7
    ),
    "a store that no mover can read": Refusal(
        lambda _stage: None, f"{MOVERS} fetches by signed URLs", "into a bucket"
    ),
    "a store that lost the data": Refusal(
        lambda stage: stage.lose("packs/media"), "volume media", "copy of the repository"
    ),
    "a store that lost a list": Refusal(
        lambda stage: stage.lose("lists/media"), "volume media", "copy of the repository"
    ),
    "a store that lost the objects": Refusal(
        lambda stage: stage.lose("packs/objects"), "packs/objects", "copy of the repository"
    ),
    "a store that serves other bytes of a list": Refusal(
        lambda stage: stage.damage("lists/media"), "volume media", "copy of the repository"
    ),
    "a store that serves other bytes of the objects": Refusal(
        lambda stage: stage.damage("packs/objects"), "packs/objects", "copy of the repository"
    ),
    "a store that serves other bytes of the newest point": Refusal(
        lambda stage: stage.damage("snap/media"), "which cannot be read", "--accept-loss"
    ),
    "a store that serves an older state": Refusal(
        lambda stage: stage.newest("snap/media").unlink(), "volume media", "--accept-loss"
    ),
    "an image that does not exist": Refusal(
        lambda stage: stage.has_images(drtool=""),
        "image web:1 of Deployment web cannot be pulled: not here",
        "--image-registry",
        volumes=["objects"],
        looks_at_images=True,
    ),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """A shop with two points of its files."""
    return shop_kept(tmp_path_factory.mktemp("kept"), "first", "second")


@pytest.fixture
def stage(kept: Commands, tmp_path: Path) -> Iterator[Stage]:
    store = tmp_path / "store"
    shutil.copytree(kept.content["repository"]["url"].removeprefix("file://"), store, copy_function=os.link)
    (tmp_path / "new").mkdir()
    drtool = replace(kept, content={**kept.content, "repository": {"url": f"file://{store}"}})
    with empty() as nothing, Living(nothing.collections, nothing.answers) as target:
        kubeconfig = str(target.kubeconfig(tmp_path / "new"))
        yield Stage(Way(target, drtool, kubeconfig, tmp_path / "state"), store, tmp_path)


def told(said: Said) -> list[tuple[str, str]]:
    """Return what was said against a restore, each with its hint."""
    if "error" in said.value:
        return [(said.error["message"], said.error["hint"])]
    return [(f"{each['about']} {each['message']}", each["hint"]) for each in said.value["plan"]["refusals"]]


def writes(target: Living) -> list[str]:
    """Return the requests that ask for a change: questions about rights, and dry runs, are none."""
    return [
        each
        for each in target.asked
        if not each.startswith("GET ") and "selfsubject" not in each and "dryRun=All" not in each
    ]


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_refused_by_name_and_the_cluster_is_as_it_was(stage: Stage, name: str) -> None:
    refusal = REFUSALS[name]
    options = refusal.harm(stage) or []
    objects, stored = stage.way.objects(), stage.stored()

    said = stage.way(
        *refusal.volumes, "--image", "drtool:1", "--confirm-target", UID, *options, code=refusal.code
    )

    found = [(message, hint) for message, hint in told(said) if refusal.about in message]
    assert found, told(said)
    assert refusal.hint in found[0][1]
    assert [each for each in writes(stage.target) if not is_look(each) or not refusal.looks_at_images] == []
    assert stage.way.objects() == objects
    assert stage.stored() == stored


def is_look(request: str) -> bool:
    return request == "POST /api/v1/namespaces" or IMAGES in request


def test_what_the_target_does_not_let_in_is_said_at_once_with_all_else(stage: Stage) -> None:
    unwelcome(stage)
    no_class(stage)

    reasons = stage.reasons()

    assert [each.partition(":")[0] for each in reasons] == [
        "is refused by the target",
        "is refused by the target",
        "is not there, which media asks for",
    ]


def test_no_byte_of_a_secret_is_sent_before_the_target_is_confirmed(stage: Stage) -> None:
    stage.way("objects", "--dry-run")

    assert {each["kind"] for each in stage.target.tried} >= {"Secret", "ConfigMap", "Ingress"}
    assert SECRET not in json.dumps(stage.target.tried)


def test_what_could_not_be_tried_is_told_by_a_plan_and_by_a_restore(stage: Stage) -> None:
    said = 'admission webhook "no.example" does not support dry run'
    stage.target.tries = lambda sent: (400, said) if sent["kind"] == "ConfigMap" else None
    note = "webhook no.example takes no dry run: whether the target lets in ConfigMap settings is known only when"

    assert [
        each for each in stage.way("objects", "--dry-run").value["plan"]["notes"] if each.startswith(note)
    ]
    asked = ("objects", "--image", "drtool:1", "--confirm-target", "another")
    assert note in " ".join(stage.way(*asked, code=5).err.split())


def test_what_is_refused_is_refused_for_what_is_wrong_alone(stage: Stage) -> None:
    assert stage.reasons() == []
    assert stage.way("objects", "--dry-run").value["plan"]["plan"]["phases"]


def test_what_a_run_says_that_it_kept_and_is_no_point_of_the_plan_is_passed_over(stage: Stage) -> None:
    drtool = stage.way.drtool
    digest = "0" * 64
    claimed = ["nonsense", f"snap/media/20991331T000000.000000Z-{digest}", f"snap/theirs/{NEXT}-{digest}"]
    with closing(
        open_session(None, Where(stage.url), KeyFiles(bundle=drtool.bundle), World(clock, {}, Silent()))
    ) as session:
        repository = session.repository
        for point in claimed:
            value = {"volume": "media", "outcome": "done", "point": point}
            put_run(repository.records, "backup", repository.store.now(), value)

    assert stage.reasons() == []


def test_what_a_living_source_kept_since_the_points_were_listed_speaks_against_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = stage.newest("snap/media")
    value = newest.read_bytes()
    newest.unlink()

    def while_it_arrives(*asked: Any) -> Trial:
        newest.write_bytes(value)
        return try_point(*asked)

    monkeypatch.setattr("drtool.operations.plan_store.try_point", while_it_arrives)

    assert stage.reasons() == []
