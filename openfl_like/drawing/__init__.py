"""Pictures: how they look, and those that are drawn in several places. Matplotlib is an extra.

Layer `drawing`, beside `store` and `frameworks` (none of them imports another); callbacks and commands import it.
"""
