"""A model that is not trained: what is left is the platform's own time."""
