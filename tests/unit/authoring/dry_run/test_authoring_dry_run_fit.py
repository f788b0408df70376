"""Whether a plan and the sites that are there fit each other."""

from dataclasses import replace

import pytest

from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind, Severity
from openfl_like.authoring.dry_run.fit import look_at_cost, look_at_kinds, look_at_sites
from openfl_like.authoring.dry_run.forecast import ExpectedCost
from openfl_like.authoring.dry_run.kinds import MOST_KINDS
from openfl_like.authoring.dry_run.sites import KnownSite, KnownSites
from openfl_like.federation.parties import DataProblem, SiteTerms
from openfl_like.federation.task import Phase
from openfl_like.plan.schema import Plan
from tests.unit.authoring.dry_run.known import kinds, plan_with, site

THREE = [site("bern"), site("ulm"), site("wien")]


def seen(plan: Plan, sites: list[KnownSite]) -> dict[FindingKind, DryRunFinding]:
    return {one.kind: one for one in look_at_sites(plan, KnownSites.of(sites))}


def test_sites_that_fit_leave_nothing_to_say() -> None:
    assert seen(plan_with(), THREE) == {}


def test_an_absent_site_is_an_error_where_the_experiment_cannot_begin_without_it() -> None:
    asked = {"collaborators": ["bern", "ulm", "zug"]}
    found = seen(plan_with(admission=asked), THREE)
    assert found[FindingKind.SITE_ABSENT].severity is Severity.ERROR
    assert found[FindingKind.SITE_ABSENT].sites == ("zug",)
    assert (found[FindingKind.TOO_FEW_SITES].found, found[FindingKind.TOO_FEW_SITES].wanted) == (2, 3)
    quorum = {"policy": "quorum", "min_updates": 1}
    found = seen(plan_with(admission={**asked, "min_collaborators": 2}, participation=quorum), THREE)
    assert set(found) == {FindingKind.SITE_ABSENT}
    assert found[FindingKind.SITE_ABSENT].severity is Severity.WARNING


def test_too_few_sites_and_selections_are_counted() -> None:
    found = seen(plan_with(admission={"min_collaborators": 5}), THREE)
    assert (found[FindingKind.TOO_FEW_SITES].found, found[FindingKind.TOO_FEW_SITES].wanted) == (3, 5)
    selector = {"template": "random", "settings": {"count": 4}}
    found = seen(plan_with(selector=selector), THREE)
    assert (found[FindingKind.SELECTS_FEWER].found, found[FindingKind.SELECTS_FEWER].wanted) == (3, 4)
    two = {"template": "random", "settings": {"count": 2}}
    found = seen(plan_with(selector=two, participation={"policy": "quorum", "min_updates": 3}), THREE)
    assert set(found) == {FindingKind.QUORUM_UNREACHABLE}


def test_many_sites_that_have_no_name_count() -> None:
    known = KnownSites(tuple(THREE), 500)
    assert list(look_at_sites(plan_with(admission={"min_collaborators": 400}), known)) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"revoked": True}, "certificate"),
        ({"changed": DataProblem()}, "data"),
        ({"data": None}, "interface"),
    ],
)
def test_a_site_that_takes_no_orders_is_named(changed: dict[str, object], name: str) -> None:
    odd = replace(THREE[0], **changed)  # type: ignore[arg-type]  # fields by name
    found = seen(plan_with(), [odd, *THREE[1:]])
    assert found[FindingKind.SITE_REFUSES].sites == ("bern",)
    assert found[FindingKind.SITE_REFUSES].name == name


def test_a_site_whose_word_makes_no_sense_or_that_is_busy_is_named() -> None:
    odd = replace(THREE[0], data=None, problem="the classes '-1' is not a whole number")
    found = seen(plan_with(), [odd, replace(THREE[1], busy=True), THREE[2]])
    assert found[FindingKind.SITE_UNREADABLE].sites == ("bern",)
    assert found[FindingKind.SITE_BUSY].severity is Severity.WARNING


def test_other_shapes_are_an_error_and_other_dtypes_a_warning() -> None:
    found = seen(plan_with(), [THREE[0], site("ulm", features=6)])
    assert found[FindingKind.SHAPES_DIFFER].severity is Severity.ERROR
    assert FindingKind.FORMS_DIFFER not in found
    found = seen(plan_with(), [THREE[0], site("ulm", classes=5)])
    assert found[FindingKind.FORMS_DIFFER].severity is Severity.WARNING
    assert any("5 classes: ulm" in line for line in found[FindingKind.FORMS_DIFFER].lines)


def test_a_device_that_a_site_does_not_give_is_named() -> None:
    gpu = {"settings": {"device": "cuda"}}
    with_gpus, without = replace(THREE[0], gpus=2), replace(THREE[1], gpus=0)
    found = list(look_at_sites(plan_with(collaborator=gpu), KnownSites.of([with_gpus, without, THREE[2]])))
    assert [(one.kind, one.sites) for one in found] == [(FindingKind.NO_DEVICE, ("ulm",))]
    cpu_only = replace(with_gpus, terms=SiteTerms(devices=("cpu",)))
    found = list(look_at_sites(plan_with(collaborator=gpu), KnownSites.of([cpu_only])))
    assert [one.kind for one in found] == [FindingKind.NO_DEVICE]
    listed = replace(THREE[2], gpus=None, terms=SiteTerms(devices=("cpu", "cuda:1")))
    assert list(look_at_sites(plan_with(collaborator=gpu), KnownSites.of([listed]))) == []


def test_a_batch_is_too_large_only_where_the_rest_is_dropped() -> None:
    sites = [site("bern", 10), site("ulm", 100)]
    dropping = plan_with(data_loader={"template": "numpy", "settings": {"batch_size": 16, "drop_last": True}})
    (found,) = look_at_kinds(dropping, kinds(dropping, sites))
    assert (found.kind, found.sites, found.found, found.wanted) == (FindingKind.BATCH_TOO_LARGE, ("bern",), 10, 16)
    own = plan_with(data_loader={"template": "src.scores:Loader", "settings": {"batch_size": 16}})
    assert [one.kind for one in look_at_kinds(own, kinds(own, sites))] == [FindingKind.BATCH_TOO_LARGE]
    assert list(look_at_kinds(plan_with(), kinds(plan_with(), sites))) == []


def test_nobody_who_trains_and_too_many_kinds_are_told() -> None:
    groups = {"groups": [{"name": "all", "collaborators": ["bern"], "tasks": ["validate"]}]}
    idle = plan_with(assigner={"template": "static", "settings": groups})
    assert FindingKind.NOBODY_TRAINS in {one.kind for one in look_at_kinds(idle, kinds(idle, THREE))}
    many = [site(f"site-{number}", features=number + 1) for number in range(MOST_KINDS + 2)]
    (found,) = look_at_kinds(plan_with(), kinds(plan_with(), many))
    assert (found.kind, found.found, found.wanted) == (FindingKind.NOT_ALL_TRIED, MOST_KINDS, MOST_KINDS + 2)


def test_a_plan_for_gpus_was_tried_on_a_processor() -> None:
    for wish in ("cuda", ["cuda:1", "cpu"]):
        plan = plan_with(collaborator={"settings": {"device": wish}})
        assert [one.kind for one in look_at_kinds(plan, kinds(plan, THREE))] == [FindingKind.NOT_ON_GPU]


def expected(
    plan: Plan, sites: list[KnownSite], train_s: float, measured_s: float, size: int = 1000
) -> list[ExpectedCost]:
    (kind,) = kinds(plan, sites)
    return [ExpectedCost(kind, {Phase.TRAIN: measured_s}, {Phase.TRAIN: train_s}, size)]


@pytest.mark.parametrize(
    ("train_s", "measured_s", "severity"),
    [(0.9, 0.1, None), (1.5, 0.1, Severity.WARNING), (2.5, 0.1, Severity.ERROR), (1.5, 1.2, Severity.ERROR)],
)
def test_a_deadline_is_compared_with_the_forecast(train_s: float, measured_s: float, severity: Severity | None) -> None:
    for deadline, key in (({"train_s": 1.0}, "deadline.train_s"), ({"round_s": 1.0}, "deadline.round_s")):
        plan = plan_with(deadline=deadline)
        found = list(look_at_cost(plan, THREE, expected(plan, THREE, train_s, measured_s), 100))
        told = severity and (Severity.WARNING if "train_s" in deadline else severity)  # what is trained by then counts
        wanted = [] if told is None else [(FindingKind.DEADLINE_SHORT, told, key, train_s)]
        assert [(one.kind, one.severity, one.key, one.found) for one in found] == wanted


def test_a_model_and_a_worker_that_are_too_large_are_named() -> None:
    small = replace(THREE[0], terms=SiteTerms(model_bytes=50), memory_bytes=500)
    plan, sites = plan_with(), [small, *THREE[1:]]
    found = {one.kind: one for one in look_at_cost(plan, sites, expected(plan, sites, 1.0, 1.0), 100)}
    assert set(found) == {FindingKind.MODEL_TOO_LARGE, FindingKind.MEMORY_SHORT}
    assert all(one.sites == ("bern",) for one in found.values())
    assert (found[FindingKind.MODEL_TOO_LARGE].found, found[FindingKind.MODEL_TOO_LARGE].wanted) == (100, 50)
