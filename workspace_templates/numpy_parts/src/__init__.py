"""The code that the sites and the referee run."""
