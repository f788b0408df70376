"""What survives a crash: two Protocols, SQLite behind them in `store.sqlite`, and files beside that.

Layer: above `federation`; imported by whatever stands above it. `store.ports` has what services ask of a store, and the
`Stores` value that they are handed; only `store.sqlite` imports SQLAlchemy, and only `cli` and `testing.faults` import
that.
"""
