"""The Director: submissions, the queue, the roster of envoys. Imported by `cli` and `doctor`."""
