"""What an offered update is: awaited, repeated, conflicting, late, never asked for."""

import pytest

from openfl_like.federation.deliveries import Deliveries, Receipt, UpdateStatus
from openfl_like.federation.task import Assignment, Phase, Update


def asked(number: int, phase: Phase = Phase.TRAIN, name: str = "bern") -> Assignment:
    return Assignment(number, phase, name, (), f"model-{number}", 5)


def offered(number: int, digest: str = "aa", phase: Phase = Phase.TRAIN, name: str = "bern") -> Update:
    return Update(number, phase, name, digest, 10)


@pytest.fixture
def ledger() -> Deliveries:
    """Bern was asked in rounds 1 and 2 and has delivered 1; Zurich was asked in round 1 and never delivered."""
    found = Deliveries()
    found.ask(asked(1))
    found.ask(asked(1, name="zurich"))
    found.take(offered(1))
    found.withdraw(1, Phase.TRAIN, "zurich")
    found.ask(asked(2))
    return found


@pytest.mark.parametrize(
    ("update", "standing"),
    [
        (offered(2), UpdateStatus.AWAITED),
        (offered(2, "bb"), UpdateStatus.AWAITED),
        (offered(1), UpdateStatus.REPEATED),
        (offered(1, "bb"), UpdateStatus.CONFLICTING),
        (offered(1, name="zurich"), UpdateStatus.LATE),
        (offered(0, phase=Phase.INITIALISE), UpdateStatus.LATE),
        (offered(3), UpdateStatus.UNASKED),
        (offered(2, "", Phase.EVALUATE), UpdateStatus.UNASKED),
        (offered(2, name="zurich"), UpdateStatus.UNASKED),
        (offered(2, name="nobody"), UpdateStatus.UNASKED),
    ],
)
def test_standing(ledger: Deliveries, update: Update, standing: UpdateStatus) -> None:
    assert ledger.standing(update) is standing


def test_an_awaited_update_has_the_model_of_its_assignment(ledger: Deliveries) -> None:
    assert ledger.model(offered(2)) == "model-2"


def test_an_update_is_known_until_a_later_one_was_taken(ledger: Deliveries) -> None:
    ledger.take(offered(2, "bb"))
    assert ledger.standing(offered(2, "bb")) is UpdateStatus.REPEATED
    assert ledger.standing(offered(1)) is UpdateStatus.LATE


def test_an_assignment_that_is_sent_again_does_not_open_a_filled_slot(ledger: Deliveries) -> None:
    ledger.take(offered(2, "bb"))
    ledger.ask(asked(2))
    assert ledger.standing(offered(2, "bb")) is UpdateStatus.REPEATED
    assert ledger.standing(offered(2, "cc")) is UpdateStatus.CONFLICTING


def test_when_nothing_is_wanted_any_more_everything_is_late(ledger: Deliveries) -> None:
    ledger.withdraw_all()
    assert ledger.standing(offered(2)) is UpdateStatus.LATE
    assert ledger.standing(offered(1)) is UpdateStatus.REPEATED


def test_after_a_restart_the_receipts_are_known() -> None:
    ledger = Deliveries([Receipt(4, Phase.TRAIN, "bern", "aa")], newest=5)
    assert ledger.standing(offered(4)) is UpdateStatus.REPEATED
    assert ledger.standing(offered(4, "bb")) is UpdateStatus.CONFLICTING
    assert ledger.standing(offered(3)) is UpdateStatus.LATE
    assert ledger.standing(offered(4, name="zurich")) is UpdateStatus.LATE
    assert ledger.standing(offered(5)) is UpdateStatus.UNASKED
