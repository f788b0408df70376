from hypothesis import given
from hypothesis import strategies as st

from openfl_like.numbered_names import NumberedNames, sorted_names


def test_numbered_names_are_those_that_are_written_out() -> None:
    names = NumberedNames("site-", 3, 12, first=95)
    written = [f"site-{number:03d}" for number in range(95, 107)]
    assert list(names) == written == sorted(written)
    assert names[:3] == tuple(written[:3])
    assert (names[0], names[-1], len(names)) == (written[0], written[-1], 12)
    assert all(name in names for name in written)
    assert [names.place(name) for name in written] == list(range(12))


def test_what_is_none_of_them() -> None:
    names = NumberedNames("site-", 3, 12, first=95)
    for name in (
        "site-094",
        "site-107",
        "site-95",
        "site-0095",
        "bern-095",
        "site-",
        "",
        "site-09²",
        "site-\N{FULLWIDTH DIGIT ZERO}95",
        95,
    ):
        assert name not in names


@given(st.text("ab-", max_size=3), st.integers(0, 300), st.integers(2, 50))
def test_they_are_recognised_among_any_names(prefix: str, first: int, total: int) -> None:
    digits = len(str(first + total))
    names = NumberedNames(prefix, digits, total, first)
    assert sorted_names(set(names)) == names
    assert sorted_names(names) is names


def test_others_are_a_tuple() -> None:
    for names in (["b", "a"], ["a1", "a3"], ["a1"], [], ["a1", "a2", "b3"], ["a9", "a10"], ["a²", "a³"]):
        assert sorted_names(names) == tuple(sorted(names))
