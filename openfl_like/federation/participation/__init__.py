"""Who takes part: the members, who may join, who is asked in a round, and for which tasks.

Layer: of `federation`, whose rules of rounds stand above it; pure like all of it.
"""
