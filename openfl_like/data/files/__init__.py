"""Shards of well-known data sets, read from files that the site has; nothing is downloaded, and no file runs code."""
