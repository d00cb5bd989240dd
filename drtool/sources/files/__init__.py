"""Directory trees: captured by a walk that follows no link, restored entry by entry, proven by hashing again."""
