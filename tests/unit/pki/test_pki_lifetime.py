from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from openfl_like.pki.files import Credentials
from openfl_like.pki.lifetime import ValidityPeriod, warnings
from openfl_like.pki.roles import Role

DAY = timedelta(days=1)


def test_it_is_renewed_at_half_of_its_life_a_tenth_earlier_or_later(
    issued: Callable[..., Credentials], now: datetime
) -> None:
    life = ValidityPeriod.of(issued(Role.ENVOY, days=30).chain)
    assert (life.begin, life.length) == (now, 30 * DAY)
    assert life.renewal(0.0) == now + 12 * DAY
    assert life.renewal(0.5) == now + 15 * DAY
    assert life.renewal(1.0) == now + 18 * DAY


@pytest.mark.parametrize(
    ("days", "left", "step"),
    [
        (365, 31, None), (365, 30, 30), (365, 14.5, 30), (365, 14, 14), (365, 7, 7), (365, 1, 1), (365, -1, 1),
        (30, 29, None), (30, 15, None), (30, 14, 14), (30, 6, 7), (30, 0.5, 1),
        (1, 0.9, None), (1, 0.1, None), (3, 1.0, 1),
    ],
)  # fmt: skip
def test_it_is_warned_of_in_steps_but_not_before_it_could_have_been_renewed(
    issued: Callable[..., Credentials], now: datetime, days: float, left: float, step: int | None
) -> None:
    life = ValidityPeriod.of(issued(Role.ENVOY, days=days).chain)
    assert life.days_to_warn(now + (days - left) * DAY) == step


def test_the_authorities_are_warned_of_too(issued: Callable[..., Credentials], now: datetime) -> None:
    credentials = issued(Role.DIRECTOR, days=365)
    assert list(warnings(credentials, now)) == []
    ((what, step, text),) = warnings(credentials, now + 360 * DAY)
    assert (what, step) == ("the certificate of fx://hospitals/director/one", 7)
    assert "ends on 2031-01-01 12:00 UTC: renew it" in text
    told = {what for what, _, _ in warnings(credentials, now + 1820 * DAY)}
    assert told == {"the certificate of fx://hospitals/director/one", "the site CA", "the experiment CA"}
