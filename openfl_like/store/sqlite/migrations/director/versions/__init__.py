"""One file per revision of `director.db`."""
