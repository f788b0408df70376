"""The error tree: one code, one meaning, one line for each."""

import re

import grpc
import pytest

from openfl_like import errors
from openfl_like.error_meanings import BY_CODE, MEANINGS, from_code
from openfl_like.errors import FederationError, InternalError, PlanError, SettingsError


def kinds() -> list[type[FederationError]]:
    """Every class below the base, however deep."""
    found, waiting = [], [FederationError]
    while waiting:
        below = [kind for kind in waiting.pop().__subclasses__() if kind.__module__ == errors.__name__]
        found += below
        waiting += below
    return found


def test_every_error_has_a_meaning_and_no_other() -> None:
    assert set(MEANINGS) == set(kinds())


def test_codes_are_unique_and_well_formed() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"E[1-9]\d\d", code) for code in codes)
    assert set(BY_CODE) == set(codes)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(E\d{3})  \S", errors.__doc__ or "")
    assert dict(drawn) == {kind.__name__: kind.code for kind in kinds()}


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.code)
def test_a_meaning_is_possible(kind: type[FederationError]) -> None:
    meaning = MEANINGS[kind]
    assert grpc.StatusCode[meaning.grpc_status] is not grpc.StatusCode.OK
    assert 400 <= meaning.http_status < 600
    assert 0 < meaning.exit_code < 126
    assert meaning.public is (kind is not InternalError)


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.code)
def test_an_error_says_where_what_and_what_to_do(kind: type[FederationError]) -> None:
    assert str(kind("it broke")) == "it broke"
    assert str(kind("it broke", place="plan.yaml:3")) == "plan.yaml:3: it broke"
    assert str(kind("it broke", place="plan.yaml:3", cure="mend it")) == "plan.yaml:3: it broke (mend it)"
    assert kind.__doc__


@pytest.mark.parametrize("kind", [PlanError, SettingsError])
def test_all_mistakes_are_in_the_text(kind: type[PlanError | SettingsError]) -> None:
    assert str(kind("2 mistakes", place="p", problems=("a", "b"))) == "p: 2 mistakes\n  - a\n  - b"


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.code)
def test_a_code_leads_back_to_its_error(kind: type[FederationError]) -> None:
    found = from_code(kind.code, "told by a peer")
    assert type(found) is kind
    assert found.message == "told by a peer"


@pytest.mark.parametrize("code", ["E000", "E999", "", "203"])
def test_an_unknown_code_is_an_internal_error(code: str) -> None:
    assert type(from_code(code, "x")) is InternalError
