"""Revisions of `director.db`; loaded by path."""
