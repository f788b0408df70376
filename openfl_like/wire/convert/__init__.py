"""Values to messages and back. Imported by `wire` alone."""
