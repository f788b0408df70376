"""Callbacks: subscribers of an experiment's events, each in a process of its own, that write files for people."""
