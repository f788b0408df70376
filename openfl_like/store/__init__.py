"""What survives a crash: SQLAlchemy Core over SQLite, and model files beside it.

Layer: above `federation`; imported by whatever stands above it. The only package that imports SQLAlchemy.
Two databases: `director.db` (experiments, roster) and one `experiment.db` per experiment (snapshot, events,
versions).
"""
