"""A selector that tells sites apart by what their training does to the model."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.participation.selection import Names, SelectionView, SizedSelector, drawn_names
from openfl_like.federation.seeds import derive_seed

_STRICT = ConfigDict(extra="forbid")
MOST_PASSES = 50
"""Of k-means, if it has not settled before."""
Point: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Cluster(SizedSelector):
    """Sites in clusters by their newest updates, or weights: a cohort of all clusters, or of one.

    With ``spread``, each cluster has its share of a cohort by its size, as in clustered sampling (Fraboni et al. 2021,
    arXiv:2105.05883, section 5: by the similarity of updates), so that no kind of site is left out of a round. With
    ``same``, a cohort is of one cluster, one after the other round by round, as far as it has so many. Sites that have
    not trained yet come first. Deviations from the paper: similarity is that of sketches (feature hashing), the
    clusters are those of k-means (Lloyd 1982), begun with sites that are far from each other (Gonzalez 1985) instead of
    drawn ones, and sites are drawn alike, not by their numbers of samples, which sites could claim.

    Attributes:
        clusters: How many.
        by: ``update``: where training has moved the model; ``weights``: where it has ended.
        cohort: ``spread`` over the clusters, or all of the ``same``.
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    clusters: Annotated[int, Field(ge=2, le=100)]
    by: Literal["update", "weights"] = "update"
    cohort: Literal["spread", "same"] = "spread"

    @property
    def remembers(self) -> bool:
        """That it goes by what sites have done."""
        return True

    @property
    def needs(self) -> frozenset[Needs]:
        """The sketches that it goes by."""
        return frozenset({Needs.UPDATES if self.by == "update" else Needs.WEIGHTS})

    def select(self, view: SelectionView) -> Names:
        """Choose; whoever has not trained yet comes first."""
        points = {name: point for name in view.present if (point := _point(view.history(name).sketch, self.by))}
        unknown = drawn_names([name for name in view.present if name not in points], view.count, view.seed)
        missing = view.count - len(unknown)
        if missing <= 0 or not points:
            return unknown
        groups = _groups(points, self.clusters, view.seed)
        rest = _of_one(groups, missing, view) if self.cohort == "same" else _of_all(groups, missing, view)
        return tuple(sorted((*unknown, *rest)))


def _point(sketch: Point, by: str) -> Point:
    """Return what sites are compared by: of updates the direction, so that a site of many samples is not far away."""
    length = math.hypot(*sketch)
    return tuple(value / length for value in sketch) if by == "update" and length else sketch


def _groups(points: Mapping[str, Point], clusters: int, seed: int) -> list[list[str]]:
    """Divide sites by k-means; the groups and their members are in an order that depends on nothing but the points."""
    names = sorted(points)
    centres = _beginnings([points[name] for name in names], clusters, seed)
    places: list[int] = []
    for _ in range(MOST_PASSES):
        found = [_nearest(points[name], centres) for name in names]
        if found == places:
            break
        places = found
        for number in range(len(centres)):
            members = [points[name] for name, place in zip(names, places, strict=True) if place == number]
            if members:
                centres[number] = tuple(math.fsum(axis) / len(members) for axis in zip(*members, strict=True))
    groups = [
        [name for name, place in zip(names, places, strict=True) if place == number] for number in range(clusters)
    ]
    return sorted(group for group in groups if group)


def _beginnings(points: Sequence[Point], clusters: int, seed: int) -> list[Point]:
    """Return a drawn point, then again and again the one that is furthest from those before it."""
    centres = [points[seed % len(points)]]
    far = [math.dist(point, centres[0]) for point in points]
    while len(centres) < clusters and max(far) > 0:
        centres.append(points[far.index(max(far))])
        far = [min(known, math.dist(point, centres[-1])) for known, point in zip(far, points, strict=True)]
    return centres


def _nearest(point: Point, centres: Sequence[Point]) -> int:
    distances = [math.dist(point, centre) for centre in centres]
    return distances.index(min(distances))


def _of_all(groups: Sequence[Sequence[str]], count: int, view: SelectionView) -> list[str]:
    """Draw of each group its share, by its size; what is left over goes to the largest remainders (Hamilton)."""
    total = sum(map(len, groups))
    count = min(count, total)
    exact = [count * len(group) / total for group in groups]
    shares = [math.floor(share) for share in exact]
    order = sorted(range(len(groups)), key=lambda at: (shares[at] - exact[at], derive_seed(view.seed, "remainder", at)))
    for at in order[: count - sum(shares)]:
        shares[at] += 1
    drawn = [
        drawn_names(group, share, derive_seed(view.seed, "cluster", at))
        for at, (group, share) in enumerate(zip(groups, shares, strict=True))
    ]
    return [name for names in drawn for name in names]


def _of_one(groups: Sequence[Sequence[str]], count: int, view: SelectionView) -> list[str]:
    """Draw of the group whose turn it is; of the next ones what that lacks."""
    chosen: list[str] = []
    for step in range(len(groups)):
        group = groups[(view.round + step) % len(groups)]
        chosen += drawn_names(group, count - len(chosen), derive_seed(view.seed, "cluster", step))
        if len(chosen) >= count:
            break
    return chosen
