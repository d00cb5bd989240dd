"""PostgreSQL 15 and later: base backups and WAL over the replication protocol, recovery that is proven."""
