"""The protocol: ``federation.proto`` is the source of truth, the committed messages are checked for freshness."""
