"""A small site that stands in for the three systems: posts, uploads and tasks. `/app/run` starts it."""
