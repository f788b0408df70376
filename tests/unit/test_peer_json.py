"""JSON that somebody else wrote is a value, or a ValueError: never an error that nobody expects."""

import json

import pytest

from openfl_like.peer_json import MOST_LEVELS, read_peer_json

MOST = 1 << 20


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "a [ of a text", [], {}, {"a": [1, {"b": [2]}]}])
def test_what_json_is_is_read(value: object) -> None:
    assert read_peer_json(json.dumps(value), MOST) == value
    assert read_peer_json(json.dumps(value).encode(), MOST) == value


def test_many_values_beside_each_other_are_not_deep() -> None:
    value = [[number, {"a": [number]}] for number in range(1000)]
    assert read_peer_json(json.dumps(value), MOST) == value


def test_it_may_have_so_many_levels_and_no_more() -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        inside = "1" if opening != "[" else ""
        fitting = opening * MOST_LEVELS + inside + closing * MOST_LEVELS
        read_peer_json(fitting, MOST)
        with pytest.raises(ValueError, match="nested too deep"):
            read_peer_json(f"[{fitting}]", MOST)


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 900, 5_000, 200_000])
def test_deep_nesting_is_a_value_error(levels: int) -> None:
    for text in (nested(levels), '{"a":' * levels + "1" + "}" * levels):
        with pytest.raises(ValueError, match="nested too deep"):
            read_peer_json(text, MOST << 4)
        with pytest.raises(ValueError, match="nested too deep"):
            read_peer_json(text.encode(), MOST << 4)


def test_a_text_that_is_too_long_is_not_parsed() -> None:
    assert read_peer_json("[1]", 3) == [1]
    with pytest.raises(ValueError, match="it has 4 characters, the limit is 3"):
        read_peer_json("[12]", 3)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", "'a'", b"\xff", "1" * 5000, b"\xff\xfe["])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_peer_json(text, MOST)


def test_what_the_caller_wants_of_numbers_and_pairs_is_done() -> None:
    def refuse(text: str) -> object:
        raise ValueError(f"{text} is not taken")

    assert read_peer_json('{"a": 1.5}', MOST, object_pairs_hook=list, parse_float=str) == [("a", "1.5")]
    with pytest.raises(ValueError, match="NaN is not taken"):
        read_peer_json('{"a": NaN}', MOST, parse_constant=refuse)
