"""Walls around a process that is about to run code which others have submitted.

The process puts them up itself, before it loads any of that code, with what the kernel offers to everybody: Landlock,
a seccomp filter, no_new_privs, fewer capabilities, no core dumps. They hold for whatever it starts, and nobody can take
them down.
See docs/design/0023-the-worker-confines-itself.md.
"""
