"""Of collaborators that joined together only those are remembered of which something else is known."""

from dataclasses import fields

from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.participation.membership import Member, Membership, Presence, TakenUpdate
from openfl_like.federation.task import Phase

KNOWN: dict[str, object] = {
    "presence": Presence.AWAY,
    "member": False,
    "absences": 1,
    "failure": Failure(FailureKind.LEFT),
    "overdue": True,
    "undefined": {Phase.TRAIN: ("train.loss",)},
    "certificate_list": 0,
}


def test_everything_that_is_known_of_a_collaborator_keeps_it_in_memory() -> None:
    assert {item.name for item in fields(Member)} == KNOWN.keys() | {"name", "delivered"}
    roster = Membership(everybody=("bern", "zurich"))
    for name, value in KNOWN.items():
        setattr(roster.one("bern"), name, value)
        roster.settle(["bern"])
        assert "bern" in roster.sites, name
        del roster.sites["bern"]


def test_what_was_delivered_is_forgotten_with_the_round() -> None:
    roster = Membership(everybody=("bern", "zurich"))
    roster.one("bern").delivered[Phase.TRAIN] = TakenUpdate(1, "d")
    roster.settle(["bern", "zurich"])
    assert not roster.sites
