"""One file per revision of `site.db`."""
