"""The client half of algorithms: what a site adds to the training loop, and what it remembers from round to round.

Part of `frameworks` and imported by whoever may import that; the workspace's code may import it, too.
"""
