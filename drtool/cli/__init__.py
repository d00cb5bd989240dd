"""WORDS: parse, call one operation, print."""
