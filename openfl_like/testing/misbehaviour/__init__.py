"""Workers that misbehave at random, and what has to come of it."""
