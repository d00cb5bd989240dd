"""VERBS: the only room that knows a source and a repository. Each file is a table of contents."""
