"""The processes: Director, Envoy, Aggregator, Collaborator, worker, and the simulation.

Layer: above `runtimes` and `events`; imported by `api`, `cli` and `testing`. Each process is put together by one
``run_*`` function.
"""
