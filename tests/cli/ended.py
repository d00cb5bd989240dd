"""Restores into a cluster, as they ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from drtool.operations.cluster_restore.results import (
    CheckedReferences,
    ClusterRestoreResult,
    Failure,
    RestoredVolume,
)
from drtool.recovery.target import TargetCluster
from drtool.sources.base import Proof

UID: Final = "3f2a91c7-0000-4000-8000-000000000000"
TARGET: Final = TargetCluster("dr", "https://dr.example:6443", "v1.34.1", UID)
BEGUN: Final = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
QUARTER: Final = timedelta(minutes=15)

POSTGRES: Final = RestoredVolume(
    "postgres",
    "postgres",
    "20261125T113000Z-postgres-0a1b2c3d",
    BEGUN - timedelta(minutes=4),
    timedelta(minutes=4),
    QUARTER,
    size=12 << 30,
    seconds=600,
    proofs=(Proof("users", ok=True, expected="at least 1", actual="4711"),),
)
OBJECTS: Final = RestoredVolume(
    "objects", "manifests", "20261125T110000Z-objects-11112222", BEGUN - QUARTER * 4, QUARTER * 4, QUARTER
)
RESTORED: Final = ClusterRestoreResult(
    run="20261125T120000Z-c0ffee",
    policy="forum",
    target=TARGET,
    namespace="gic-forum",
    outcome="restored",
    begun=BEGUN,
    ended=BEGUN + timedelta(minutes=41),
    rto=timedelta(hours=1),
    volumes=(OBJECTS, POSTGRES),
    phases={"infrastructure": 40.0, "data": 2000.0},
    steps={"apply core/Secret": 2.5, "restore postgres": 600.0},
    notes=("Ingress web: point shop.example to the new cluster",),
)
MISSED: Final = replace(
    RESTORED,
    outcome="restored, and an objective was missed",
    ended=BEGUN + timedelta(minutes=70),
    volumes=(OBJECTS, replace(POSTGRES, loss=timedelta(minutes=20))),
    missed=(
        "volume postgres lost 20 min, and 15 min was promised",
        "it took 1 h 10 min, and 1 h was promised",
    ),
)
_LATER: Final = "drtool keys enrol --repository s3://bucket/prefix --recovery-key-file KIT --bundle NEW-FILE"
UNPROTECTED: Final = replace(
    RESTORED,
    outcome="restored, and not protected",
    enrol_later=_LATER,
    notes=(f"nothing is backed up until `{_LATER}` is run", *RESTORED.notes),
)
UNPROVEN: Final = replace(
    RESTORED,
    volumes=(
        replace(
            POSTGRES, proofs=(*POSTGRES.proofs, Proof("<posts>", ok=False, expected="at least 1", actual="0"))
        ),
    ),
)
GAPS: Final = replace(
    RESTORED,
    outcome="restored, and not proven",
    references=(
        CheckedReferences(
            "posts", "postgres", "media", listed=1200, missing=12, first=("a\n<b>.jpg", "../c")
        ),
        CheckedReferences("avatars", "postgres", "media", listed=40),
        CheckedReferences("albums", "postgres", "media", failed="PostgreSQL refuses the query"),
    ),
)
UNDONE: Final = replace(
    RESTORED,
    outcome="aborted",
    volumes=(),
    notes=("volume old is kept, as its storage class says",),
    undone={"removed": 7, "put_back": ["a", "b"], "kept_volumes": ["old"]},
)
FAILED: Final = replace(
    RESTORED,
    outcome="failed",
    ended=BEGUN + timedelta(minutes=12),
    volumes=(POSTGRES,),
    failure=Failure(
        cause="step start tier 1: Deployment web is not ready: its image cannot be pulled",
        hint="Mend its name.",
        steps=("start tier 1",),
        done=9,
        planned=14,
        way_on="Go on with --resume 20261125T120000Z-c0ffee.",
    ),
)
