"""How it stands, on paper: what a page says, and how it looks. Knows no source and no repository."""
