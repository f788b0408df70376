"""Whether a plan and the sites that are there fit each other, as far as that is known without asking them."""

from collections.abc import Iterator, Sequence

from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind, Severity
from openfl_like.authoring.dry_run.forecast import ExpectedCost
from openfl_like.authoring.dry_run.kinds import MOST_KINDS, SiteKind, batch_size
from openfl_like.authoring.dry_run.sites import KnownSite, KnownSites
from openfl_like.errors import DeviceError
from openfl_like.federation.components import build_selector
from openfl_like.federation.devices.placement import ANY_GPU, AUTO, CPU, offered, place
from openfl_like.federation.participation.admission import needed
from openfl_like.federation.participation.selection import expected_cohort, share_of
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.task import Phase
from openfl_like.plan.schema import Plan

TWICE = 2.0
"""A forecast that is over a deadline by less is a warning: other machines are quicker, or slower."""


def look_at_sites(plan: Plan, known: KnownSites, parts: PartSource = REGISTERED) -> Iterator[DryRunFinding]:
    """Compare the sites with those that the plan asks for, and with one another.

    Args:
        plan: The plan.
        known: The sites.
        parts: Builds its selector.
    """
    names = {site.name for site in known.sites}
    asked = plan.admission.collaborators
    absent = tuple(name for name in asked if name not in names)
    if absent:
        enough = len(asked) - len(absent) >= needed(plan.admission, asked)
        severity = Severity.WARNING if enough else Severity.ERROR
        yield DryRunFinding(FindingKind.SITE_ABSENT, absent, key="admission.collaborators", other=severity)
    sites = asked_sites(plan, known)
    yield from _refusals(plan, sites)
    yield from _forms([site for site in sites if site.takes_part])
    there = _count(plan, known)
    least = needed(plan.admission, asked)
    if there < least:
        key = "admission.min_collaborators" if plan.admission.min_collaborators else "admission.collaborators"
        yield DryRunFinding(FindingKind.TOO_FEW_SITES, key=key, found=there, wanted=least, unit="sites")
    yield from _selection(plan, there, parts)


def asked_sites(plan: Plan, known: KnownSites) -> list[KnownSite]:
    """Return the sites that the plan asks for."""
    asked = set(plan.admission.collaborators)
    return [site for site in known.sites if not asked or site.name in asked]


def _count(plan: Plan, known: KnownSites) -> int:
    sites = asked_sites(plan, known)
    unnamed = 0 if plan.admission.collaborators else known.count - len(known.sites)
    return sum(site.takes_part for site in sites) + unnamed


def _refusals(plan: Plan, sites: Sequence[KnownSite]) -> Iterator[DryRunFinding]:
    for site in sites:
        named = (site.name,)
        if site.revoked:
            yield DryRunFinding(FindingKind.SITE_REFUSES, named, name="certificate")
        elif site.changed is not None:
            yield DryRunFinding(FindingKind.SITE_REFUSES, named, name="data", said=str(site.changed))
        elif site.problem:
            yield DryRunFinding(FindingKind.SITE_UNREADABLE, named, said=site.problem)
        elif site.data is None:
            yield DryRunFinding(
                FindingKind.SITE_REFUSES, named, name="interface", key="interface", said=plan.interface or ""
            )
        elif site.busy:
            yield DryRunFinding(FindingKind.SITE_BUSY, named)
        yield from _device(plan, site)


def _device(plan: Plan, site: KnownSite) -> Iterator[DryRunFinding]:
    """Place the site's worker as the site would, with as many GPUs as its machine tells of."""
    wish, allowed = plan.collaborator.settings.device, site.terms.devices
    if wish == CPU or (site.gpus is None and allowed in {(), (AUTO,)}):
        return
    listed = AUTO if allowed in {(), (AUTO,)} else allowed
    try:
        place(wish, offered(listed, range(site.gpus or 0)))
    except DeviceError as error:
        key = "collaborator.settings.device"
        yield DryRunFinding(FindingKind.NO_DEVICE, (site.name,), key=key, said=error.message)


def _forms(sites: Sequence[KnownSite]) -> Iterator[DryRunFinding]:
    """Compare what the sites' data looks like."""
    shapes: dict[str, list[str]] = {}
    forms: dict[str, list[str]] = {}
    for site in sites:
        if site.data is None:
            continue
        samples, targets = site.data.samples, site.data.targets
        shapes.setdefault(f"samples {list(samples.shape)}, targets {list(targets.shape)}", []).append(site.name)
        classes = f", {site.data.classes} classes" if site.data.classes else ""
        forms.setdefault(f"samples {samples}, targets {targets}{classes}", []).append(site.name)
    for kind, found in ((FindingKind.SHAPES_DIFFER, shapes), (FindingKind.FORMS_DIFFER, forms)):
        if len(found) > 1:
            yield DryRunFinding(kind, lines=tuple(f"{form}: {_listed(names)}" for form, names in found.items()))
            return


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _selection(plan: Plan, there: int, parts: PartSource) -> Iterator[DryRunFinding]:
    if not any(task.is_training for task in plan.tasks.values()):
        return
    count = plan.selector.settings.get("count")
    if isinstance(count, int) and count > there:
        key = "selector.settings.count"
        yield DryRunFinding(FindingKind.SELECTS_FEWER, key=key, found=there, wanted=count, unit="sites")
    cohort = expected_cohort(build_selector(plan, parts), there)
    participation = plan.participation
    if participation.policy != "quorum":
        return
    fraction = participation.min_fraction
    least = max(participation.min_updates or 1, share_of(fraction, cohort) if fraction is not None else 1)
    if least > cohort:
        key = "participation.min_updates"
        yield DryRunFinding(FindingKind.QUORUM_UNREACHABLE, key=key, found=cohort, wanted=least, unit="updates")


def look_at_kinds(plan: Plan, kinds: Sequence[SiteKind]) -> Iterator[DryRunFinding]:
    """Compare what sites have with what the plan does with it.

    Args:
        plan: The plan.
        kinds: All kinds of sites.
    """
    trains = any(task.is_training for task in plan.tasks.values())
    if kinds and trains and not any(kind.calls(plan, Phase.TRAIN) for kind in kinds):
        yield DryRunFinding(FindingKind.NOBODY_TRAINS, key="assigner")
    if len(kinds) > MOST_KINDS:
        left = tuple(name for kind in kinds[MOST_KINDS:] for name in kind.names)
        yield DryRunFinding(FindingKind.NOT_ALL_TRIED, left, found=MOST_KINDS, wanted=len(kinds), unit="kinds")
    wish = plan.collaborator.settings.device
    if any(one.startswith(ANY_GPU) for one in ((wish,) if isinstance(wish, str) else wish)):
        yield DryRunFinding(FindingKind.NOT_ON_GPU, key="collaborator.settings.device")
    size = batch_size(plan)
    if size is None or _takes_what_is_left(plan):
        return
    small = [site for kind in kinds for site in kind.sites if _train_count(site, size) < size]
    if small:
        least = min(_train_count(site, size) for site in small)
        key, names = "data_loader.settings.batch_size", tuple(site.name for site in small)
        yield DryRunFinding(FindingKind.BATCH_TOO_LARGE, names, key=key, found=least, wanted=size, unit="samples")


def _takes_what_is_left(plan: Plan) -> bool:
    """Whether the loader is one of the platform's, and makes a batch of fewer samples, too."""
    loader = plan.data_loader
    own = ":" in loader.template and not loader.template.startswith("openfl_like.")
    return not own and not loader.settings.get("drop_last", False)


def _train_count(site: KnownSite, unknown: int) -> int:
    return unknown if site.data is None else site.data.counts.get("train", unknown)


def look_at_cost(
    plan: Plan, sites: Sequence[KnownSite], expected: Sequence[ExpectedCost], model_bytes: int
) -> Iterator[DryRunFinding]:
    """Compare what the work takes with what the plan and the sites give.

    Args:
        plan: Its deadlines.
        sites: All that take part.
        expected: What each kind of site is expected to need.
        model_bytes: Of a model's file.
    """
    small = tuple(site.name for site in sites if (site.terms.model_bytes or model_bytes) < model_bytes)
    if small:
        least = min(site.terms.model_bytes or 0 for site in sites if site.name in small)
        yield DryRunFinding(FindingKind.MODEL_TOO_LARGE, small, found=model_bytes, wanted=least, unit="bytes")
    for one in expected:
        short = tuple(
            site.name for site in one.kind.sites if (site.memory_bytes or one.worker_bytes) < one.worker_bytes
        )
        if short:
            least = min(site.memory_bytes or 0 for site in one.kind.sites if site.name in short)
            yield DryRunFinding(FindingKind.MEMORY_SHORT, short, found=one.worker_bytes, wanted=least, unit="bytes")
    yield from _deadlines(plan, expected)


def _deadlines(plan: Plan, expected: Sequence[ExpectedCost]) -> Iterator[DryRunFinding]:
    deadline = plan.deadline
    train_key = "deadline.train_s" if deadline.train_s is not None else "deadline.round_s"
    for phase, limit, key in (
        (Phase.TRAIN, deadline.round_s if deadline.train_s is None else deadline.train_s, train_key),
        (Phase.EVALUATE, deadline.round_s, "deadline.round_s"),
    ):
        late = [one for one in expected if limit is not None and one.seconds.get(phase, 0.0) > limit]
        if limit is None or not late:
            continue
        slowest = max(one.seconds[phase] for one in late)
        cut = key == "deadline.train_s"  # then what was trained counts, and nothing fails
        over = slowest > TWICE * limit or any(one.measured.get(phase, 0.0) > limit for one in late)
        names = tuple(name for one in late for name in one.kind.names)
        yield DryRunFinding(
            FindingKind.DEADLINE_SHORT, names, phase=phase, key=key, found=slowest, wanted=limit, unit="s",
            other=Severity.ERROR if over and not cut else Severity.WARNING,
        )  # fmt: skip
