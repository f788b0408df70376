"""The stores in SQLite, by SQLAlchemy Core: `director.db` and one `experiment.db` per experiment.

The only room that knows SQLite. `store.sqlite.stores` has the value that services are handed; imported by `cli` and
`testing.faults` alone.
"""
