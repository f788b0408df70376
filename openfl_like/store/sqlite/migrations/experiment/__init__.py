"""Revisions of `experiment.db`; loaded by path."""
