"""How updates are checked and combined. Imported by `runtimes` and everything above it."""
