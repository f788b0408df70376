"""Whether a site's shard is of a kind that its federation has agreed on."""

from dataclasses import replace

import pytest

from openfl_like.errors import ShardMismatchError
from openfl_like.federation.participation.admission import check_interface
from openfl_like.federation.parties import Interface, ShardFacts

ONE = (Interface("", (8, 8), ()),)
TWO = (Interface("tables", (13,), ()), Interface("pictures", (8, 8), (2,)))
FACTS = ShardFacts((8, 8), ())


@pytest.mark.parametrize(
    ("interface", "agreed", "message"),
    [
        (
            "",
            TWO,
            "the shard of 'bern' has no interface, this federation has 'tables', 'pictures' "
            "(name one of these in the shard.yaml, as interface)",
        ),
        (
            "tables",
            ONE,
            "the shard of 'bern' has the interface 'tables', this federation has one without a name "
            "(take interface out of the shard.yaml, or give director.yaml interfaces)",
        ),
        (
            "tables",
            TWO,
            "the shard of 'bern' has the sample shape [8, 8], this federation's interface 'tables' has [13] "
            "(change the shard descriptor, or interfaces.tables.sample_shape in director.yaml)",
        ),
        (
            "pictures",
            TWO,
            "the shard of 'bern' has the target shape [], this federation's interface 'pictures' has [2] "
            "(change the shard descriptor, or interfaces.pictures.target_shape in director.yaml)",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_what_would(interface: str, agreed: tuple[Interface, ...], message: str) -> None:
    with pytest.raises(ShardMismatchError) as caught:
        check_interface("bern", replace(FACTS, interface=interface), agreed)
    assert str(caught.value) == message


def test_each_is_compared_with_its_own() -> None:
    check_interface("bern", FACTS, ONE)
    check_interface("bern", ShardFacts((13,), (), interface="tables"), TWO)
    check_interface("bern", ShardFacts((8, 8), (2,), interface="pictures"), TWO)
