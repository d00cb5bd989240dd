"""FROM WHERE: each source captures one consistent point of a system, and puts it back."""
