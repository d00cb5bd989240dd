"""The RDB format: its head, its checksum, its keys and values. Bytes in, facts out; nothing else."""
