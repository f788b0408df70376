"""Child processes: started apart, watched, ended with everything they started.

Layer: above `frameworks`, `data`, `store` and `wire`; imported by `runtimes` and what is above them.
"""
