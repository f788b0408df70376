"""The Aggregator: one experiment's rounds. Imported by `cli` and the simulation."""
