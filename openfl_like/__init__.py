"""Federated learning for sites whose data never leaves them, over mTLS."""

__version__ = "0.2.0"
