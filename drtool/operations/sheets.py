"""The recovery kit and the admin sheet as text: to be printed, and kept on paper. They hold secrets."""

from drtool import __version__
from drtool.policy.schema import Repository as RepositorySettings
from drtool.repository.format.text import encode_key
from drtool.repository.kit import trust_of
from drtool.repository.repository import Created

_RULE = "=" * 78


def render_kit(recipient: str, created: Created, settings: RepositorySettings) -> str:
    """Return the kit of a recipient: where the repository is, the keys, and what to do at 3 am.

    Who made the recovery key elsewhere has its first half already: the kit holds the other, the trust line.
    """
    line = created.recovery.get(recipient)
    seed = f"the DRTOOL-SEED- line that {recipient} keeps"
    return "\n".join(
        [
            _RULE,
            f"drtool RECOVERY KIT of {created.config.policy}, for {recipient}",
            f"Who holds this page{'' if line else f' and {seed}'} can read every backup.",
            "Keep it on paper, away from the cluster.",
            _RULE,
            *_place(created, settings),
            "",
            "Recovery key:" if line else f"Recovery key, its second half; the first is {seed}:",
            line.text() if line else _trust(created),
            "",
            "Operator's signing key:",
            encode_key("OPERATOR", created.operator_seed),
            "",
            *_credentials(settings),
            "",
            "At 3 am:",
            "1. On any machine with Python 3.11 or later, no part of the dead cluster: pip install . in a copy of",
            f"   drtool's source. Keep one with this page, which is of version {__version__}.",
            f"2. Type {'' if line else f'{seed} and '}the two DRTOOL- lines above into a file: kit.txt.",
            "   The last letters of each are a checksum.",
            "3. Export the credentials of the store, if it has any, and see what is there:",
            f"   drtool points {_options(settings)}",
            "4. Bring a volume back, the newest or with --at TIME:",
            f"   drtool restore VOLUME --to-dir DIR {_options(settings)}",
            "5. Read its first line: only what it calls back is back. Then delete kit.txt.",
            "",
        ]
    )


def _trust(created: Created) -> str:
    """Return the half of a recovery line that says which repository it trusts; no secret."""
    bundle = created.writer
    return encode_key("TRUST", trust_of(bundle.repository, bundle.admin))


def render_admin_sheet(created: Created, settings: RepositorySettings) -> str:
    """Return the sheet of the admin key, which changes who may read and who may sign, and reads nothing itself."""
    return "\n".join(
        [
            _RULE,
            f"drtool ADMIN SHEET of {created.config.policy}",
            "Who holds this page can change who reads and who writes. Keep it apart from the kit, offline.",
            _RULE,
            *_place(created, settings),
            "",
            "Admin's signing key:",
            encode_key("ADMIN", created.admin_seed),
            "",
            *_credentials(settings),
            "",
            "It is needed to enrol a writer, a recipient or a volume, never for a backup or a restore.",
            "",
        ]
    )


def _place(created: Created, settings: RepositorySettings) -> list[str]:
    rows = {
        "repository": settings.url,
        "endpoint": settings.endpoint,
        "region": settings.region if settings.url.startswith("s3:") else None,
        "CA file": settings.ca_file,
        "id": created.config.repository,
        "made": created.config.made,
    }
    return [f"{name:<12}{value}" for name, value in rows.items() if value]


def _credentials(settings: RepositorySettings) -> list[str]:
    if not settings.url.startswith("s3:"):
        return ["Credentials: none but the right to read the folder."]
    return [
        "Credentials of the store, to be filled in by hand (they may get and list all):",
        "AWS_ACCESS_KEY_ID      ______________________________________________",
        "AWS_SECRET_ACCESS_KEY  ______________________________________________",
    ]


def _options(settings: RepositorySettings) -> str:
    given = {"repository": settings.url, "endpoint": settings.endpoint, "ca-file": settings.ca_file}
    options = [f"--{name} {value}" for name, value in given.items() if value]
    return " ".join([*options, "--recovery-key-file kit.txt"])
