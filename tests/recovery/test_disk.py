"""Whether what comes back fits into its claims, and these into the target."""

from dataclasses import replace
from typing import Any

import pytest

from drtool.recovery.wishes import Wishes
from tests.recovery.captured import Json, captured, claim, workload
from tests.recovery.stage import POINTS, facts, made, refused

MIB = 1024**2
SERVICE = captured("v1", "Service", "db", spec={"selector": {"app": "db"}})
MOUNT = [{"name": "data", "mountPath": "/var/lib/postgresql/data"}]
DATABASE = workload(
    "StatefulSet",
    "db",
    pod={"containers": [{"name": "db", "image": "postgres:15", "volumeMounts": MOUNT}]},
    volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}],
)
FOLDERS = facts(storage_classes={"fast": "rancher.io/local-path"})


LARGE = [replace(each, size=1536 * MIB) for each in POINTS]


def capacity(name: str = "fast", **more: Any) -> Json:
    return {"metadata": {"name": "c"}, "storageClassName": name, **more}


def test_a_claim_that_is_smaller_than_its_data_is_refused() -> None:
    objects = [claim("media"), SERVICE, DATABASE, claim("data-db-0"), claim("data-db-1")]

    assert refused(objects, points=LARGE) == [
        "claim data-db-0 has 1 GiB, and volume postgres needs 1.5 GiB",
        "claim media has 1 GiB, and volume media needs 1.5 GiB",
    ]
    assert refused([claim("media", size="2Gi"), *objects[1:]], points=LARGE) == [
        "claim data-db-0 has 1 GiB, and volume postgres needs 1.5 GiB"
    ]


def test_a_claim_that_is_there_already_counts_with_the_size_that_it_has() -> None:
    there = claim("media", size="2Gi")
    target = facts(live={("", "PersistentVolumeClaim", "media"): there})

    assert made([claim("media")], Wishes(if_exists="keep"), target, live=[there], points=LARGE).disk == {}


def test_a_class_that_makes_folders_does_not_look_at_sizes() -> None:
    found = made([claim("media")], facts=FOLDERS, points=LARGE)

    assert found.notes == (
        (
            "claim media: it asks for 1 GiB, and volume media has 1.5 GiB: see that the node has room, "
            "for class fast does not look"
        ),
    )


def test_a_claim_for_several_nodes_may_stay_without_a_volume_where_these_are_folders() -> None:
    shared, own = claim("media", accessModes=["ReadWriteMany"]), claim("data", accessModes=["ReadWriteOnce"])

    assert made([shared, own], facts=FOLDERS).notes == (
        (
            "PersistentVolumeClaim media: it asks for ReadWriteMany, "
            "and class fast may make volumes of one node only"
        ),
    )
    assert made([shared, own]).notes == ()


def test_a_plan_says_how_much_it_asks_of_each_class() -> None:
    found = made([claim("media"), claim("other"), claim("third", "mine", size="5Mi"), claim("fourth", None)])

    assert found.disk == {"fast": 3 * 1024 * MIB, "mine": 5 * MIB}
    assert made([claim("media"), claim("kept")], Wishes(if_exists="keep"), live=[claim("kept")]).disk == {
        "fast": 1024 * MIB
    }


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ([capacity(capacity="1Gi")], ["storage class fast has 1 GiB left, and the claims ask for 3 GiB"]),
        ([capacity()], ["storage class fast has 0 B left, and the claims ask for 3 GiB"]),
        (
            [capacity(capacity="1536Mi"), capacity(capacity="1536Mi")],
            ["storage class fast makes volumes of at most 1.5 GiB, and b asks for 2 GiB"],
        ),
        (
            [capacity(capacity="9Gi", maximumVolumeSize="1Gi")],
            ["storage class fast makes volumes of at most 1 GiB, and b asks for 2 GiB"],
        ),
    ],
)
def test_a_class_that_has_not_enough_left_is_refused(there: list[Json], reason: list[str]) -> None:
    assert refused([claim("a"), claim("b", size="2Gi")], facts=facts(capacities=there)) == reason


@pytest.mark.parametrize("there", [[], [capacity("mine", capacity="1Mi")], [capacity(capacity="3Gi")]])
def test_a_class_that_has_enough_left_or_says_nothing_is_not_refused(there: list[Json]) -> None:
    found = made([claim("a"), claim("b", size="2Gi")], facts=facts(capacities=there))

    assert found.disk == {"fast": 3 * 1024 * MIB}


def test_a_volume_whose_claim_is_not_known_is_not_judged() -> None:
    assert made([claim("elsewhere")], points=LARGE).disk == {"fast": 1024 * MIB}


def test_very_large_sizes_are_said_in_their_unit() -> None:
    assert refused([claim("a", size="3Ti")], facts=facts(capacities=[capacity(capacity="2Ti")])) == [
        "storage class fast has 2 TiB left, and the claims ask for 3 TiB"
    ]
