"""A small model at which one thing goes wrong, as the plan says."""
