"""`doctor`: is everything there that backups and restores will need; one family of checks a file."""
