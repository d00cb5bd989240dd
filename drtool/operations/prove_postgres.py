"""Proofs of a recovered PostgreSQL: what its source proves by itself, and what the policy asks."""

from drtool.errors import DrtoolError
from drtool.operations.restore_job import Job
from drtool.policy.volumes import PostgresVolume
from drtool.repository.reader import Contents
from drtool.sources.base import Proof
from drtool.sources.postgres.authid import superuser_names
from drtool.sources.postgres.binaries import Binaries
from drtool.sources.postgres.prove import (
    SqlProof,
    find_superuser,
    prove_server,
    prove_sql,
)
from drtool.sources.postgres.recovery import Recovered, Recovery


def prove_recovered(
    job: Job, contents: Contents, binaries: Binaries, recovery: Recovery, recovered: Recovered
) -> list[Proof]:
    """Prove the data on the running server: every database, then the policy's own queries."""
    facts = contents.header["facts"]
    policy = job.policy(contents)
    volume = policy.find(job.request.volume) if policy else None
    try:
        user = find_superuser(recovery.instance, superuser_names(recovery.instance.directory))
    except DrtoolError as refused:
        return [
            Proof("a role to prove with", ok=False, expected="initdb's superuser", actual=refused.message)
        ]
    proofs = list(
        prove_server(
            recovery.instance,
            binaries,
            user=user,
            databases=facts.get("databases", []),
            is_changed=recovered.last_commit is not None,
        )
    )
    if isinstance(volume, PostgresVolume):
        named = [
            SqlProof(
                proof.name,
                proof.sql,
                proof.at_least,
                proof.equals,
                proof.database or job.session.world.secret(volume.database) or "postgres",
            )
            for proof in volume.proofs
        ]
        proofs += prove_sql(recovery.instance, named, user=user)
    return proofs
