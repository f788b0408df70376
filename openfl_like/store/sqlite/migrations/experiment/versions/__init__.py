"""One file per revision of `experiment.db`."""
