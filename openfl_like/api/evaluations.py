"""How each site found each model that an experiment was given."""

from collections.abc import Mapping

from openfl_like.api.client import AsyncFederation
from openfl_like.api.federation import Federation
from openfl_like.federation.parties import ExperimentRecord

Matrix = Mapping[str, Mapping[str, Mapping[str, float]]]


def matrix(federation: Federation, experiment: str | ExperimentRecord) -> Matrix:
    """As `matrix_of`, blocking."""
    return federation.ask(lambda client: matrix_of(client, experiment))


async def matrix_of(federation: AsyncFederation, experiment: str | ExperimentRecord) -> Matrix:
    """Return site -> task -> metric -> value of the last round in which given models were evaluated.

    The tasks are those with ``apply: file:…``; with ``evaluate`` of `Federation.submit` there is one for each model.
    Empty if the plan has none, or none is done yet.

    Args:
        federation: A connection to the Director.
        experiment: Which one, or its record if that is at hand: then it is not asked for again.
    """
    record = await federation.experiments.get(experiment) if isinstance(experiment, str) else experiment
    metrics = [name for item in record.versions[-1:] for name in item.version.metrics]
    if not any("@" in name for name in metrics):
        return {}  # without reading the whole history
    found: Matrix = {}
    for one in await federation.experiments.rounds(record.summary.id):
        found = one.matrix or found
    return found
