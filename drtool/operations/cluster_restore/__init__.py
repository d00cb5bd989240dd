"""`restore --to-cluster`: a plan executed step by step, journaled, and undone or gone on with where it stopped."""
