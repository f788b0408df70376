"""Files between processes: manifests, wanted chunks, data connections. Imported by `wire` alone."""
