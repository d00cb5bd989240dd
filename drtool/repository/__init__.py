"""WHERE TO: sealed, deduplicated, signed objects in an object store. FORMAT.md is the contract."""
