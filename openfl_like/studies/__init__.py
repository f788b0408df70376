"""Studies: many simulations of one plan, what they are, how they are run and what came of them.

No figure and no table is made here, that is for `cli`. Imported by `cli` and `testing`.
"""
