"""Controllers: what changes the course of an experiment between two rounds."""
