"""The value that services are handed: stores in SQLite files."""

from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Stores
from openfl_like.store.sqlite.director import SqliteDirectorStore
from openfl_like.store.sqlite.experiment import SqliteExperimentStore, experiment_database
from openfl_like.store.sqlite.site import SqliteSiteStore


def _has_record(files: ExperimentFiles) -> bool:
    return experiment_database(files).exists()


SQLITE = Stores(SqliteDirectorStore, SqliteExperimentStore, SqliteSiteStore, _has_record)
"""Each store is one file in the directory that it belongs to."""
