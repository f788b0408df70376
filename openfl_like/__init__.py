"""Federated learning for sites whose data never leaves them: Director, Envoys, Aggregator and Collaborators over mTLS."""

__version__ = "0.1.0"
