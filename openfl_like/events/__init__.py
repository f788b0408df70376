"""Who is told: listeners read what the store committed, from any point of its history.

Layer: above `store`; imported by `services` and `cli`.
"""
