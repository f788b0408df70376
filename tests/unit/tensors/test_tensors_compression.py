"""What is special to one compression: chance, ties, and stored parts that a peer made up."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from openfl_like.tensors.compression import BLOCK, Compression, Quantise, RandomK, TopK
from openfl_like.tensors.draws import draws, fractions, stream_key
from openfl_like.tensors.named import TensorSpec

SPEC = TensorSpec("w", "F32", (3000,))


def test_the_stream_is_that_of_the_paper() -> None:
    # The first numbers of SplitMix64 from the seed 1234567, as published with its reference code.
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert draws(1234567, 0, 3).tolist() == wanted
    assert draws(1234567, 2, 3).tolist() == wanted[2:]
    assert draws(2**64 - 1, 0, 1).size == 1


def test_each_tensor_and_seed_has_its_own_stream() -> None:
    keys = {stream_key(seed, name) for seed in (0, 1, 2**63 - 1) for name in ("w", "v")}
    assert len(keys) == 6
    numbers = fractions(stream_key(1, "w"), 0, 100_000)
    assert abs(numbers.mean() / 2**16 - 0.5) < 5 * np.sqrt(1 / 12 / 100_000)
    assert fractions(stream_key(1, "w"), 7, 1001).tolist() == numbers[7:1001].tolist()


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_at_random_keeps_the_mean(bits: int) -> None:
    compression = Quantise(bits=bits)  # type: ignore[arg-type] # a parameter is not a literal
    values = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    total, times = np.zeros(3000), 400
    for key in range(times):
        total += compression.decode(SPEC, compression.encode(SPEC, values, stream_key(key, "w")), 0, 0, 3000)
    steps = np.repeat(np.maximum.reduceat(np.abs(values), np.arange(0, 3000, BLOCK)), BLOCK)[:3000]
    deviation = steps / (2 ** (bits - 1) - 1) / 2 / np.sqrt(times)  # of the mean, at most
    scores = (total / times - values) / deviation
    assert np.abs(scores).max() < 5
    assert abs(scores.mean()) < 5 / np.sqrt(3000)


def test_of_equal_elements_the_first_are_sent() -> None:
    values = np.array([1, -1, 3, 1, 1, 0, -1, 1] * 10, np.float32)
    stored = TopK(fraction=0.25).encode(TensorSpec("w", "F32", (80,)), values, 0)
    assert stored["index"].tolist() == sorted([*range(2, 80, 8), 0, 1, 3, 4, 6, 7, 8, 9, 11, 12])


def test_random_places_reach_everything_alike() -> None:
    counts = np.zeros(100)
    spec, compression = TensorSpec("w", "F32", (100,)), RandomK(fraction=0.07)
    ones = np.ones(100, np.float32)
    for key in range(2000):
        counts += compression.decode(spec, compression.encode(spec, ones, key * 2**40), key * 2**40, 0, 100)
    assert counts.sum() == 7 * 2000
    assert np.abs(counts - 140).max() < 6 * np.sqrt(140)


def test_nothing_but_half_a_byte_is_spent_on_four_bits() -> None:
    stored = Quantise(bits=4).encode(SPEC, np.ones(3000, np.float32), 0)
    assert {name: array.nbytes for name, array in stored.items()} == {"code": 1500, "scale": 12}


@pytest.mark.parametrize(
    ("compression", "part", "change", "complaint"),
    [
        (Quantise(), "scale", {1: np.nan}, "negative or not finite"),
        (Quantise(), "scale", {2: np.inf}, "negative or not finite"),
        (Quantise(), "scale", {0: -1.0}, "negative or not finite"),
        (TopK(fraction=0.1), "index", {-1: 3000}, "place 3000 is outside"),
        (TopK(fraction=0.1), "index", {-1: 2**32 - 1}, "is outside"),
        (TopK(fraction=0.1), "index", {4: 2**32 - 1}, "do not rise"),
        (TopK(fraction=0.1), "index", {7: 0}, "do not rise"),
    ],
)
def test_parts_that_a_peer_made_up_are_refused(
    compression: Compression, part: str, change: dict[int, float], complaint: str
) -> None:
    stored = compression.encode(SPEC, np.arange(3000, dtype=np.float32), 0)
    assert compression.check(SPEC, stored) == ""
    for place, value in change.items():
        stored[part][place] = value
    assert complaint in compression.check(SPEC, stored)


def test_a_place_that_comes_twice_is_refused_even_where_chunks_meet() -> None:
    spec, compression = TensorSpec("w", "F32", (140_000,)), TopK(fraction=1.0)
    stored = compression.encode(spec, np.ones(140_000, np.float32), 0)
    assert compression.check(spec, stored) == ""
    stored["index"][65_536] = stored["index"][65_535]
    assert compression.check(spec, stored) == "its places do not rise"


@pytest.mark.parametrize("settings", [{}, {"fraction": 0}, {"fraction": 1.1}, {"fraction": 0.1, "k": 2}])
def test_impossible_settings(settings: dict[str, Any]) -> None:
    for kind in (TopK, RandomK):
        with pytest.raises(ValidationError):
            kind(**settings)
    with pytest.raises(ValidationError):
        Quantise(bits=5)  # type: ignore[arg-type] # the mistake to be refused
