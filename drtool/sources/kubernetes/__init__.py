"""Kubernetes as a source: the API's client, and what is read through it."""
