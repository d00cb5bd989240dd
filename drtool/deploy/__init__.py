"""How drtool runs on Kubernetes: from a policy to the objects that do its work. Pure; nothing is written here."""
