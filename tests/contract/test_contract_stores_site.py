"""What every record of a site promises: an order and an end are there as a whole, and what has ended stays."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from openfl_like.federation.history.site import PartEnd, PerformedTasks, SitePart
from openfl_like.federation.task import Phase
from openfl_like.store.ports import SiteStore
from openfl_like.store.site_files import SiteFiles
from tests.contract.test_contract_stores import EVERY

ADA = "fx://hospitals/user/ada"
TRAINED = PerformedTasks(11.5, 1, Phase.TRAIN, ("train", "validate"))
FAILED = PerformedTasks(12.5, 2, Phase.EVALUATE, ("validate",), "ValueError: two")


@pytest.fixture(params=EVERY)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SiteStore]:
    stores = EVERY[request.param]()
    return lambda: stores.site(SiteFiles(tmp_path))


@pytest.fixture
def store(opened: Callable[[], SiteStore]) -> Iterator[SiteStore]:
    with closing(opened()) as made:
        yield made


def order(experiment: str, now: float = 10.0) -> SitePart:
    return SitePart(experiment, ADA, "ab" * 32, now)


def test_a_part_from_its_order_to_its_end(store: SiteStore, opened: Callable[[], SiteStore]) -> None:
    number = store.begin(order("digits-1"))
    assert store.parts() == [SitePart("digits-1", ADA, "ab" * 32, 10.0, number=number)]
    store.end(number, PartEnd.CANCELLED, "cancelled by ada", 20.0, [TRAINED, FAILED])
    ended = SitePart(
        "digits-1", ADA, "ab" * 32, 10.0, 20.0, PartEnd.CANCELLED, "cancelled by ada", (TRAINED, FAILED), number
    )
    assert store.parts() == [ended]
    with closing(opened()) as again:
        assert again.parts() == [ended]


def test_what_has_ended_stays_as_it_is(store: SiteStore) -> None:
    number = store.begin(order("digits-1"))
    store.end(number, PartEnd.FINISHED, "done", 20.0, [TRAINED])
    before = store.parts()
    store.end(number, PartEnd.FAILED, "no", 30.0, [FAILED])
    assert store.parts() == before


def test_parts_are_in_their_order_and_one_experiment_may_have_several(store: SiteStore) -> None:
    first, second = store.begin(order("b-1")), store.begin(order("a-1", 11.0))
    store.end(first, PartEnd.STOPPED, "", 12.0, [])
    third = store.begin(order("b-1", 13.0))
    store.end(third, PartEnd.FINISHED, "", 14.0, [TRAINED])
    assert [(part.number, part.experiment, part.end, len(part.performed)) for part in store.parts()] == [
        (first, "b-1", PartEnd.STOPPED, 0),
        (second, "a-1", None, 0),
        (third, "b-1", PartEnd.FINISHED, 1),
    ]


def test_one_may_ask_for_one_experiment_and_without_what_was_done(store: SiteStore) -> None:
    for experiment in ("a-1", "b-1", "a-1"):
        store.end(store.begin(order(experiment)), PartEnd.FINISHED, "", 12.0, [TRAINED])
    assert [(part.number, part.performed) for part in store.parts("a-1")] == [(1, (TRAINED,)), (3, (TRAINED,))]
    assert [(part.number, part.performed) for part in store.parts("b-1", performed=False)] == [(2, ())]
    assert [part.performed for part in store.parts(performed=False)] == [()] * 3
    assert store.parts("c-1") == []


def test_what_is_removed_is_gone_with_what_was_done_for_it(store: SiteStore) -> None:
    first, second = store.begin(order("a-1")), store.begin(order("b-1"))
    for number in (first, second):
        store.end(number, PartEnd.FINISHED, "", 12.0, [TRAINED])
    store.remove([first])
    assert [(part.number, part.performed) for part in store.parts()] == [(second, (TRAINED,))]
    store.remove([second])
    store.end(store.begin(order("c-1")), PartEnd.FINISHED, "", 12.0, [])
    assert [part.performed for part in store.parts()] == [()]
