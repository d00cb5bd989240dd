"""A real Kubernetes on one machine, for the tests: `python -m tests.cluster`. README.md says how it is put together."""
