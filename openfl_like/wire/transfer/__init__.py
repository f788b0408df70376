"""Files between processes: manifests, wanted chunks, data connections.

Imported by `wire`, and by the daemons that serve or fetch files.
"""
