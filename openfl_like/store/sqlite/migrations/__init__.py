"""Alembic revisions of the two databases, run when a file of an older schema is opened.

Layer: part of `store`; imported by nobody, loaded by path. A new database gets the newest schema at once, and a test
holds that all revisions in a row lead to the same one.
"""
