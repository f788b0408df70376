"""The kinds of sites that a dry run plays: one site stands for all whose data has one form and that do the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from openfl_like.authoring.dry_run.sites import KnownSite
from openfl_like.data.published import PublishedData
from openfl_like.data.shard import KINDS
from openfl_like.federation.components import build_assigner
from openfl_like.federation.participation.assignment import calls_in_phase
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.task import Phase, TaskCall
from openfl_like.plan.schema import Plan

BATCHES = 3
USUAL_BATCH = 32
MOST_SAMPLES, MOST_BYTES = 4096, 64_000_000
"""So many samples are invented at most, and so many bytes of them, whatever a batch has."""
MOST_KINDS = 8
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class SiteKind:
    """Sites that are alike.

    Attributes:
        sites: All of them that have a name; the first is played.
        data: What their data looks like, with the counts of the one that is played.
        tasks: Names of their tasks.
        invented: How many samples are invented of each kind.
    """

    sites: tuple[KnownSite, ...]
    data: PublishedData
    tasks: tuple[str, ...]
    invented: Mapping[str, int]

    @property
    def name(self) -> str:
        """The site that is played."""
        return self.sites[0].name

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, sorted."""
        return tuple(sorted(site.name for site in self.sites))

    def calls(self, plan: Plan, phase: Phase) -> tuple[TaskCall, ...]:
        """What such a site does in a phase of a round."""
        return calls_in_phase(plan.tasks, self.tasks, phase)


def batch_size(plan: Plan) -> int | None:
    """Return the setting ``batch_size`` of the plan's data loader, if it has one."""
    given = plan.data_loader.settings.get("batch_size")
    return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else None


def kinds_of(plan: Plan, sites: Sequence[KnownSite], parts: PartSource = REGISTERED) -> list[SiteKind]:
    """Return the kinds of sites, those that train first.

    Of sites that are alike but have fewer samples than are invented, the one with the fewest is played besides the one
    with the most.

    Args:
        plan: Says who does what, and in which batches.
        sites: All that take part.
        parts: Builds its assigner.
    """
    dealt = build_assigner(plan, parts).deal(
        [site.name for site in sites], tuple(plan.tasks), derive_seed(plan.seed, 1, "assignment")
    )
    alike: dict[tuple[object, ...], list[tuple[KnownSite, PublishedData]]] = {}
    for site in sites:
        if site.data is not None:
            alike.setdefault((_form(site.data), dealt.get(site.name, ())), []).append((site, site.data))
    kinds = [
        SiteKind(tuple(one for one, _ in part), part[0][1], dealt.get(part[0][0].name, ()), invented)
        for group in alike.values()
        for part, invented in _by_size(plan, group)
    ]
    return sorted(kinds, key=lambda kind: not kind.calls(plan, Phase.TRAIN))


def _form(data: PublishedData) -> tuple[object, ...]:
    return data.samples, data.targets, data.classes


_Pairs: TypeAlias = Sequence[tuple[KnownSite, PublishedData]]


def _by_size(plan: Plan, group: _Pairs) -> list[tuple[_Pairs, Mapping[str, int]]]:
    """Divide sites into those with enough samples for what is invented, and those with fewer."""
    enough = _enough(plan, group[0][1])
    ordered = sorted(group, key=lambda pair: _train_count(pair[1], enough))
    small = [pair for pair in ordered if _train_count(pair[1], enough) < enough]
    large = [pair for pair in ordered if _train_count(pair[1], enough) >= enough]
    return [(part, _invented(part[0][1], enough)) for part in (large, small) if part]


def _train_count(data: PublishedData, enough: int) -> int:
    return data.counts.get("train", enough)


def _invented(data: PublishedData, enough: int) -> dict[str, int]:
    return {kind: max(1, min(data.counts.get(kind, enough), enough)) for kind in KINDS}


def _enough(plan: Plan, data: PublishedData) -> int:
    """Return how many samples make a few batches, with each class among them, and fit into memory."""
    wanted = max(BATCHES * (batch_size(plan) or USUAL_BATCH), data.classes)
    each = max(1, data.samples.size_bytes + data.targets.size_bytes)
    return max(1, min(wanted, MOST_SAMPLES, MOST_BYTES // each))
