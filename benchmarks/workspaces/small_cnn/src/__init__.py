"""The code that the sites run."""
