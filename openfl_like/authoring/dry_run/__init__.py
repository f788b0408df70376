"""Trying a plan on invented data, before any site is asked."""
