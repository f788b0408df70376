"""What is measured of a model: metrics by name, and what a task has seen so far."""
