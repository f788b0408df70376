"""The Python client for notebooks and scripts.

Layer: above `services`; imported by `cli` and by users.

Example:
    >>> from openfl_like.api.federation import Federation
    >>> with Federation("director:50050", "certs/user/alice") as federation:  # doctest: +SKIP
    ...     experiment = federation.submit("plan.yaml")
    ...     for event in federation.watch(experiment.id):
    ...         print(event)
    ...     federation.model(experiment.id, "best", "best.safetensors")
"""
