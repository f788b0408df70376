"""``fx demo``."""
