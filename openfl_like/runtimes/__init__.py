"""Where the tasks of an experiment run, and the one loop that drives them all.

Layer: above `wire`, `store`, `frameworks`, `data`; imported by `services`. A runtime hands assignments to somebody
and posts what comes back; everything else about a round is the same for every runtime.
"""
