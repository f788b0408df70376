"""The daemons: Director, Envoy, Aggregator, Collaborator; and the simulation.

Layer: above `runtimes` and `events`; imported by `authoring`, `doctor`, `cli` and `testing`. Each daemon is put
together by one ``run_*`` function.
"""
