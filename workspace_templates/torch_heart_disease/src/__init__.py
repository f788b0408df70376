"""The code that the hospitals run."""
