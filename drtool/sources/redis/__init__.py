"""Redis 6.2 and later: RDBs over the replication protocol, volumes seeded from them."""
