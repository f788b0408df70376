"""``python -m openfl_like.cli.study.worker``: a process that performs runs of a study for `fx study run`."""

from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.studies.worker import serve

if __name__ == "__main__":
    serve(SQLITE)
