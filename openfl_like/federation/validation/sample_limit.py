"""How many samples a site may claim: numbers weigh updates and metrics, and are only what sites say."""

from collections.abc import Sequence

from openfl_like.federation.task import Update
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict
from openfl_like.plan.schema import SampleLimit

NAME = "sample_limit"
LEAST_CLAIMS = 3
"""Of fewer claims the median is what a single site says."""


def judge_samples(limit: SampleLimit, updates: Sequence[Update]) -> tuple[UpdateVerdict, ...]:
    """Say whose updates claim more samples than the plan allows.

    The median is the lower one of the claims that are not zero, so that half of the sites may claim too much. With
    fewer than three claims no median bounds anybody.

    Args:
        limit: The plan's; of several bounds, the lowest one holds.
        updates: Those of one phase of a round.

    Returns:
        In the order of the sites' names.
    """
    claims = sorted(update.num_samples for update in updates if update.num_samples)
    if not claims:
        return ()
    usual = None
    if limit.multiple is not None and len(claims) >= LEAST_CLAIMS:
        usual = max(1, int(limit.multiple * claims[(len(claims) - 1) // 2]))
    action = Consequence.DROP if limit.above == "drop" else Consequence.COUNT_LESS
    found = []
    for update in sorted(updates, key=lambda each: each.collaborator):
        bounds = [each for each in (limit.sites.get(update.collaborator, limit.most), usual) if each is not None]
        if bounds and update.num_samples > min(bounds):
            observed, bound = float(update.num_samples), float(min(bounds))
            found.append(UpdateVerdict(update.collaborator, NAME, Measure.SAMPLES, observed, bound, action))
    return tuple(found)
