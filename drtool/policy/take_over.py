"""The statement by which a repository takes over what a policy got after `init`: hints of several rooms name it."""

from typing import Final

TAKE_OVER: Final = (
    "drtool keys volumes --policy FILE --admin-key-file kit.txt.admin --recovery-key-file kit.txt"
)
