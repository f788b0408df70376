"""A seeded sample of docs/robustness.md: promises hold, the plain mean fails, and who is dropped has a reason."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
ROUNDS = 15
PLAIN = "plain mean (`schema`, `finite`)"
SAMPLED = (
    "`median`",
    "`krum`, fraction 0.2",
    "`fltrust`",
    "validator `norm`, multiple 3",
    "validator `cosine`",
    "`sample_limit`, multiple 2, drop",
    "`norm` clip, `cosine`, `sample_limit` cap",
)


@pytest.fixture(scope="module")
def robustness() -> Iterator[ModuleType]:
    pytest.importorskip("sklearn")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield import_module("robustness")
    sys.modules.pop("robustness", None)


@pytest.fixture(scope="module")
def digits(robustness: ModuleType) -> object:
    return robustness.dealt()


@pytest.fixture(scope="module")
def clean(robustness: ModuleType, digits: object) -> float:
    found: float = robustness.run(robustness.DEFENCES[PLAIN], robustness.Attack.NONE, digits, ROUNDS).accuracy
    return found


def test_the_plain_mean_fails(robustness: ModuleType, digits: object, clean: float) -> None:
    attack = robustness.Attack
    assert clean > 75
    for each in (attack.SIGN_FLIP, attack.SAMPLES):
        found = robustness.run(robustness.DEFENCES[PLAIN], each, digits, ROUNDS)
        assert found.accuracy < clean - 20, each
    found = robustness.run(robustness.DEFENCES["plain mean, no validator"], attack.NAN, digits, ROUNDS)
    assert found.accuracy is None
    assert "not finite" in found.reason


@pytest.mark.parametrize("name", SAMPLED)
def test_what_is_promised_holds_and_who_is_dropped_has_a_reason(
    robustness: ModuleType, digits: object, name: str
) -> None:
    defence = robustness.DEFENCES[name]
    own = robustness.run(defence, robustness.Attack.NONE, digits, ROUNDS)
    # with so few rounds, what costs a round costs more points than in the end
    margin = 2 * robustness.LIMIT
    for attack in defence.claims:
        found = robustness.run(defence, attack, digits, ROUNDS)
        assert found.accuracy is not None, found.reason
        assert found.accuracy > own.accuracy - margin, attack
        assert all(reason for reason in found.dropped.values())
        by_verdict = {(number, one.collaborator) for number, one in found.verdicts if one.action == "drop"}
        assert by_verdict <= found.dropped.keys()
        refused = {site for (_, site), why in found.dropped.items() if "not finite" in why}
        assert refused == ({*robustness.ATTACKERS} if attack is robustness.Attack.NAN else set())


def test_an_attacker_is_dropped_in_every_round_for_the_length_that_it_has(
    robustness: ModuleType, digits: object
) -> None:
    found = robustness.run(
        robustness.DEFENCES["validator `norm`, multiple 3"], robustness.Attack.SIGN_FLIP, digits, ROUNDS
    )
    wanted = {(number, site) for number in range(1, ROUNDS + 1) for site in robustness.ATTACKERS}
    assert found.dropped.keys() == wanted
    assert all(verdict.observed > verdict.bound > 0 for _, verdict in found.verdicts)


def test_a_capped_site_has_a_vote_like_the_others(robustness: ModuleType, digits: object) -> None:
    defence, attack = robustness.DEFENCES["`sample_limit`, multiple 1, cap"], robustness.Attack
    inflated, flipped = (robustness.run(defence, each, digits, ROUNDS) for each in (attack.SAMPLES, attack.LABEL_FLIP))
    assert inflated.accuracy == pytest.approx(flipped.accuracy, abs=1.0), (
        "the median of the claims is not quite the same"
    )
    capped = {(number, one.collaborator, one.observed) for number, one in inflated.verdicts if one.observed > 1000}
    assert capped == {
        (number, site, robustness.INFLATED) for number in range(1, ROUNDS + 1) for site in robustness.ATTACKERS
    }


def test_it_is_a_function_of_its_seed(robustness: ModuleType, digits: object) -> None:
    defence, attack = robustness.DEFENCES["validator `cosine`"], robustness.Attack.SIGN_FLIP
    first, second, other = (robustness.run(defence, attack, digits, 3, seed) for seed in (1, 1, 2))
    assert first == second != other


def test_the_page_has_a_row_for_every_defence(robustness: ModuleType) -> None:
    page = (ROOT / "docs/robustness.md").read_text()
    figures = page.partition(robustness.BEGIN)[2].partition(robustness.END)[0]
    rows = [line.split("|")[1].strip() for line in figures.splitlines() if line.startswith("| ")][1:]
    assert rows == list(robustness.DEFENCES)
    assert "~~" not in figures, "what is promised does not hold"
