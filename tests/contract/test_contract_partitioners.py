"""What every partitioner that has a short name must do: a row is one site's, and the seed alone decides."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl_like import registry
from openfl_like.data.partition import NOBODY, Partitioner, build_partitioner, owners_of, rows_of_site
from openfl_like.errors import ShardError

ROWS, SITES = 600, 12
TARGETS = np.random.default_rng(5).choice([0, 1, 2, 5, 9], ROWS, p=[0.1, 0.15, 0.2, 0.25, 0.3])

GROUPS = np.random.default_rng(6).integers(0, 40, ROWS)


@dataclass(frozen=True, slots=True)
class Case:
    """A partitioner with settings.

    Attributes:
        template: Its short name.
        settings: Its settings.
        leaves_out: Whether it leaves rows out.
        drawn: Whether anything is drawn.
        may_be_empty: Whether a site may be left without rows.
        grouped: Whether it goes by groups.
    """

    template: str
    settings: dict[str, object]
    leaves_out: bool = False
    drawn: bool = True
    may_be_empty: bool = False
    grouped: bool = False

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """Ask it; of the rows of `TARGETS` it is told the groups, of others that each label is a group."""
        return owners_of(self.build(), targets, sites, seed, GROUPS if len(targets) == ROWS else targets)

    def build(self) -> Partitioner:
        return build_partitioner(self.template, self.settings)


TENTHS = [[f"{40 * site}-{40 * site + 38}", 40 * site + 39] for site in range(SITES)]
STAGES: list[dict[str, object]] = [
    {"sites": 3, "labels": [0, 9], "size": 10},
    {"sites": 2, "size": 25},
    {"sites": 7, "partitioner": {"template": "shards"}},
]
CASES = [
    Case("iid", {}),
    Case("dirichlet", {"alpha": 0.1}, may_be_empty=True),
    Case("dirichlet", {"alpha": 100}),
    Case("dirichlet", {"alpha": 0.3, "min_size": 5}),
    Case("dirichlet", {"alpha": 0.3, "balanced": True}),
    Case("dirichlet", {"alpha": 0.001, "balanced": True}),
    Case("labels", {"labels": 2}),
    Case("shards", {}),
    Case("shards", {"shards_per_site": 5}),
    Case("percentage", {}),
    Case("percentage", {"fraction": 1.0, "size": 11}, leaves_out=True),
    Case("unique", {}),
    Case("unique", {"size": 3}, leaves_out=True),
    *(Case("non_iid", {"level": level}, may_be_empty=level > 1) for level in range(1, 6)),
    Case("natural", {}, grouped=True),
    Case("natural", {"groups_per_site": 3}, leaves_out=True, grouped=True),
    Case("sizes", {"sigma": 1.5}, may_be_empty=True),
    Case("sizes", {"between": [3, 30]}, leaves_out=True),
    Case("sizes", {"given": list(range(1, SITES + 1))}, leaves_out=True),
    Case("manual", {"rows": TENTHS}, leaves_out=True, drawn=False),
    Case("pipe", {"stages": STAGES}),
    Case("pipe", {"stages": [{"sites": SITES, "labels": [5], "size": 2}]}, leaves_out=True),
]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.template} {str(case.settings)[:40]}")


def test_every_partitioner_is_here() -> None:
    assert {case.template for case in CASES} == set(registry.BUILTIN["partitioner"])


@every
@settings(max_examples=25)
@given(seed=st.integers(0, 2**63 - 1))
def test_every_row_is_one_sites_or_nobodys(case: Case, seed: int) -> None:
    owners = case.owners(TARGETS, SITES, seed)
    assert owners.dtype == np.int64
    assert owners.shape == (ROWS,)
    assert case.leaves_out == (owners == NOBODY).any()
    assert owners.max() < SITES
    if not case.may_be_empty:
        assert np.bincount(owners[owners != NOBODY], minlength=SITES).min() > 0


@every
def test_the_seed_alone_decides(case: Case) -> None:
    first = case.owners(TARGETS, SITES, 1)
    np.random.seed(3)
    other = case.owners(TARGETS, SITES, 2)
    np.random.seed(4)
    again = case.owners(TARGETS.astype(np.int32), SITES, 1)
    assert np.array_equal(first, again)
    assert case.drawn != np.array_equal(first, other)


@every
def test_what_it_is_given_stays_as_it_is(case: Case) -> None:
    locked = TARGETS.copy()
    locked.flags.writeable = False
    state = np.random.get_state()[1].tobytes()  # type: ignore[index] # numpy's own type is a union
    case.owners(locked, SITES, 7)
    assert np.random.get_state()[1].tobytes() == state  # type: ignore[index] # as above


@every
def test_the_rows_of_a_site_are_those_of_the_deal(case: Case) -> None:
    if case.grouped:
        with pytest.raises(ShardError, match="goes by groups, such as writers, and these rows have none"):
            rows_of_site(case.build(), TARGETS, 1, SITES, 9)
        return
    owners = case.owners(TARGETS, SITES, 9)
    rows = [rows_of_site(case.build(), TARGETS, site + 1, SITES, 9) for site in range(SITES)]
    assert all(np.array_equal(np.flatnonzero(owners == site), found) for site, found in enumerate(rows))


@every
def test_who_needs_no_labels_deals_numbers_too(case: Case) -> None:
    if not case.build().needs_labels:
        owners = case.owners(np.linspace(0, 1, ROWS), SITES, 3)
        assert np.array_equal(owners, case.owners(TARGETS, SITES, 3))


@every
def test_an_unknown_setting_is_refused_and_named(case: Case) -> None:
    with pytest.raises(ShardError, match="temperature"):
        build_partitioner(case.template, {**case.settings, "temperature": 1})


def dealt(case: Case, targets: np.ndarray, sites: int) -> np.ndarray | ShardError:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return case.owners(targets, sites, 1)
        except ShardError as error:
            return error


@every
@pytest.mark.parametrize("sites", [1, 7, 599, 601, 2000])
def test_any_number_of_sites_is_dealt_to_or_refused(case: Case, sites: int) -> None:
    found = dealt(case, TARGETS, sites)
    assert found.cure if isinstance(found, ShardError) else found.max() < sites


@every
@pytest.mark.parametrize("targets", [np.zeros(ROWS, np.int64), np.array([4]), np.array([], dtype=np.int64)], ids=len)
def test_odd_data_is_dealt_or_refused(case: Case, targets: np.ndarray) -> None:
    found = dealt(case, targets, SITES)
    assert found.cure if isinstance(found, ShardError) else len(found) == len(targets)
