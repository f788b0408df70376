"""``fx experiment``."""
