"""HOW IT STANDS: what the repository's state means for the promises of the policy."""
