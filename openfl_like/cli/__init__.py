"""``fx``: one file per noun. The top layer: nothing imports it.

Modules here import only click when they are loaded; what a command needs is imported when it runs, so that ``fx
--help`` is instant.
"""
