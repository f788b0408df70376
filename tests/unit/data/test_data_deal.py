import numpy as np
import pytest
from data_sets import ManyLabels, Pictures
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.data.deal import DataSet, Deal, DealSettings, deal_out
from openfl_like.data.partition import NOBODY
from openfl_like.errors import ShardError


def settings(sites: int, template: str = "iid", **more: object) -> DealSettings:
    part = {"template": template, "settings": more.pop("settings", {})}
    return DealSettings.model_validate({"sites": sites, "partitioner": part, **more})


def rows(deal: Deal, sites: int) -> list[tuple[list[int], list[int]]]:
    return [(deal.train.rows(site).tolist(), deal.validate.rows(site).tolist()) for site in range(sites)]


WHOLE = DataSet.of(ManyLabels())
SKEWED = {"settings": {"alpha": 0.1}}


@given(
    sites=st.integers(1, 40),
    seed=st.integers(0, 2**63 - 1),
    policy=st.sampled_from(["merge", "drop"]),
    alpha=st.sampled_from([0.05, 0.5, 50.0]),
)
def test_every_row_is_dealt_once_in_its_own_kind(sites: int, seed: int, policy: str, alpha: float) -> None:
    deal = deal_out(WHOLE, settings(sites, "dirichlet", settings={"alpha": alpha}, seed=seed, without_samples=policy))
    found = rows(deal, sites)
    train, validate = ([row for pair in found for row in pair[kind]] for kind in (0, 1))
    assert len(train) == len(set(train))
    assert len(validate) == len(set(validate))
    present = set(deal.present.tolist())
    for site, (trained, held_out) in enumerate(found):
        assert bool(trained) == bool(held_out) == (site in present)
        assert trained == sorted(trained)
    if policy == "merge":
        assert (len(train), len(validate)) == (300, 100)
        assert NOBODY not in deal.joined


def test_held_out_rows_have_the_labels_that_are_trained_on() -> None:
    deal = deal_out(WHOLE, settings(5, "labels", settings={"labels": 2}))
    for site in range(5):
        trained = np.bincount(WHOLE.train.targets[deal.train.rows(site)], minlength=5)
        held_out = np.bincount(WHOLE.validate.targets[deal.validate.rows(site)], minlength=5)
        assert np.abs(trained / 3 - held_out).max() <= 1


def test_rows_that_nobody_trains_on_take_held_out_ones_along() -> None:
    deal = deal_out(WHOLE, settings(2, "sizes", settings={"given": [100, 50]}))
    assert deal.train.sizes.tolist() == [100, 50]
    assert np.abs(deal.validate.sizes - [33, 17]).max() <= 3


def test_a_small_site_gets_a_held_out_row_of_its_own_labels() -> None:
    whole = DataSet.of(ManyLabels(train=300, validate=100))
    deal = deal_out(whole, settings(60, "sizes", settings={"given": [1] * 59 + [241]}))
    assert deal.validate.sizes.min() >= 1
    alike = [
        whole.validate.targets[deal.validate.rows(site)[0]] == whole.train.targets[deal.train.rows(site)[0]]
        for site in range(59)
    ]
    assert all(alike)


def test_a_label_that_is_only_held_out_is_shared_by_size() -> None:
    shard = ManyLabels(train=100, validate=100)
    shard.get_dataset("validate").targets[:] = 4
    shard.get_dataset("train").targets[:] = np.arange(100) % 4
    deal = deal_out(DataSet.of(shard), settings(2, "sizes", settings={"given": [75, 25]}))
    assert deal.validate.sizes.tolist() == [75, 25]


def test_targets_without_labels_are_dealt_by_number() -> None:
    deal = deal_out(DataSet.of(ManyLabels(classes=0)), settings(3, "sizes", settings={"given": [30, 60, 90]}))
    assert deal.validate.sizes.tolist() == [10, 20, 30]


def empty_ones(policy: str) -> DealSettings:
    lists = [["0-99"], [], ["100-119"], [], ["120-299"]]
    return settings(5, "manual", settings={"rows": lists}, without_samples=policy)


def test_a_site_without_samples_is_refused_with_its_number() -> None:
    with pytest.raises(
        ShardError, match=r"2 of 5 sites have no samples to train on, or none held out: 2, 4 "
    ) as caught:
        deal_out(WHOLE, empty_ones("refuse"))
    assert "merge or drop" in caught.value.cure


def test_sites_without_samples_are_dropped() -> None:
    deal = deal_out(WHOLE, empty_ones("drop"))
    assert deal.present.tolist() == [0, 2, 4]
    assert deal.joined.tolist() == [0, NOBODY, 2, NOBODY, 4]


def test_sites_with_too_little_are_merged_with_the_smallest() -> None:
    whole = DataSet.of(ManyLabels(train=300, validate=3))
    lists = [["0-99"], ["100-101"], ["102-110"], ["111-115"], ["116-299"]]
    deal = deal_out(whole, settings(5, "manual", settings={"rows": lists}, without_samples="merge"))
    assert len(deal.present) == 3
    assert deal.train.sizes.sum() == 300
    joined = [site for site in range(5) if deal.joined[site] != site]
    smallest = min(deal.present, key=lambda site: len([row for row in lists[site] if row]))
    assert len(joined) == 2
    assert smallest in deal.present


def test_where_no_site_has_samples_there_is_nothing_to_merge() -> None:
    nothing = settings(2, "manual", settings={"rows": [[], []]}, without_samples="merge")
    with pytest.raises(ShardError, match="2 of 2 sites have no samples"):
        deal_out(WHOLE, nothing)


@pytest.mark.parametrize(("sites", "said"), [(301, "300 samples to train on"), (101, "100 samples held out")])
def test_more_sites_than_samples_are_refused(sites: int, said: str) -> None:
    with pytest.raises(ShardError, match=f"the data set has {said}, too few for {sites} sites") as caught:
        deal_out(WHOLE, settings(sites))
    assert "have at most" in caught.value.cure


@pytest.mark.parametrize(
    ("shard", "said"),
    [(ManyLabels(classes=0), "are not class numbers"), (Pictures(), r"the targets have the shape \[2, 2\]")],
    ids=["numbers", "masks"],
)
def test_what_needs_labels_is_refused_where_there_are_none(shard: ManyLabels, said: str) -> None:
    whole = DataSet.of(shard)
    with pytest.raises(ShardError, match=f"the partitioner 'shards' goes by class labels, and .*{said}"):
        deal_out(whole, settings(3, "shards"))
    with pytest.raises(ShardError, match=f"label_noise is for class labels, and .*{said}"):
        deal_out(whole, settings(3, label_noise={"fraction": 0.1}))
    assert len(deal_out(whole, settings(3)).present) == 3


@pytest.mark.parametrize(("part", "wanted"), [(1.0, 10), (0.3, 3), (0.01, 1)])
def test_a_part_of_the_sites_has_wrong_labels(part: float, wanted: int) -> None:
    noise = {"fraction": 0.5, "sites": part}
    assert deal_out(WHOLE, settings(10, label_noise=noise)).mislabelled.sum() == wanted
    assert not deal_out(WHOLE, settings(10)).mislabelled.any()


def test_wrong_labels_are_at_sites_that_there_are() -> None:
    lists = [["0-99"], *([[]] * 8), ["100-299"]]
    for seed in range(5):
        noise = {"fraction": 0.5, "sites": 0.5}
        more = {"settings": {"rows": lists}, "without_samples": "drop", "label_noise": noise, "seed": seed}
        deal = deal_out(WHOLE, settings(10, "manual", **more))
        assert np.flatnonzero(deal.mislabelled).tolist() in ([0], [9])


def test_the_seed_alone_decides() -> None:
    def dealt(seed: int) -> list[tuple[list[int], list[int]]]:
        return rows(deal_out(DataSet.of(ManyLabels()), settings(7, "shards", seed=seed)), 7)

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)


class Wards(ManyLabels):
    """Many labels, from wards of a hospital."""

    def __init__(self, wards: object) -> None:
        super().__init__()
        self.wards = wards

    def groups(self, kind: str) -> np.ndarray | None:
        return self.wards(kind) if callable(self.wards) else None


def test_sites_may_be_made_of_groups_that_a_shard_of_any_kind_names() -> None:
    whole = DataSet.of(Wards(lambda kind: np.arange(300 if kind == "train" else 100) % 4))
    deal = deal_out(whole, settings(2, "natural", seed=1))
    assert deal.train.sizes.tolist() == [150, 150]
    wards = [set((deal.validate.rows(site) % 4).tolist()) for site in range(2)]
    assert [len(of) for of in wards] == [2, 2]
    assert wards == [set((deal.train.rows(site) % 4).tolist()) for site in range(2)]


@pytest.mark.parametrize("groups", [np.zeros(3, np.int64), np.zeros(300), np.zeros((300, 2), np.int64)])
def test_groups_that_are_no_number_for_each_sample_are_refused(groups: np.ndarray) -> None:
    with pytest.raises(ShardError, match="the groups of the 'train' data are") as caught:
        DataSet.of(Wards(lambda _: groups))
    assert caught.value.cure == "give a whole number for each sample"


@pytest.mark.parametrize("shard", [ManyLabels(), Wards(None)])
def test_without_groups_there_are_no_sites_of_groups(shard: ManyLabels) -> None:
    with pytest.raises(ShardError, match="goes by groups, such as writers, and these rows have none"):
        deal_out(DataSet.of(shard), settings(2, "natural"))


def test_a_stage_of_a_pipe_has_no_groups() -> None:
    whole = DataSet.of(Wards(lambda kind: np.arange(300 if kind == "train" else 100) % 4))
    stages = {"settings": {"stages": [{"sites": 2, "partitioner": {"template": "natural"}}]}}
    with pytest.raises(ShardError, match="these rows have none"):
        deal_out(whole, settings(2, "pipe", **stages))
