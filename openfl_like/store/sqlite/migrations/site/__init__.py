"""Revisions of `site.db`; loaded by path."""
