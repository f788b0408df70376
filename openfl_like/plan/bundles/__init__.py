"""Workspaces on their way: what travels, what must not, and how it is packed and unpacked."""
