"""Pictures: how they look, and those that are drawn in several places. Matplotlib is an extra."""
