"""Bytes in, bytes out: the layout of every object of the repository."""
