"""Federated learning for sites whose data never leaves them, over mTLS."""

__version__ = "0.1.0"
