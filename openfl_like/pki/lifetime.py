"""When a certificate is to be renewed, and what is said about one that is about to end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from openfl_like.pki.authority import BACKDATE
from openfl_like.pki.certificate import parse_certificate
from openfl_like.pki.files import Credentials

WARN_DAYS = (1, 7, 14, 30)
EARLIEST_RENEWAL, LATEST_RENEWAL = 0.4, 0.6


@dataclass(frozen=True, slots=True)
class ValidityPeriod:
    """Begin and end of a certificate."""

    begin: datetime
    end: datetime

    @classmethod
    def of(cls, pem: bytes, place: str = "certificate") -> Self:
        """Read them, without the minutes by which a certificate is valid before it was made."""
        leaf = parse_certificate(pem, place)
        return cls(leaf.not_valid_before_utc + BACKDATE, leaf.not_valid_after_utc)

    @property
    def length(self) -> timedelta:
        """From begin to end."""
        return self.end - self.begin

    def renewal(self, fraction: float) -> datetime:
        """When to renew it: at half of its life, a tenth earlier or later, so that not all come at once.

        Args:
            fraction: From 0 to 1, drawn anew for each certificate.
        """
        return self.begin + self.length * (EARLIEST_RENEWAL + fraction * (LATEST_RENEWAL - EARLIEST_RENEWAL))

    def days_to_warn(self, now: datetime) -> int | None:
        """The step of the warning that is due: the end is within so many days; None: there is nothing to say.

        One that is renewed half-way in time is never warned of: only steps below half of its life count.
        """
        left = self.end - now
        return next((days for days in WARN_DAYS if left <= timedelta(days=days) < self.length / 2), None)

    def told(self, what: str, now: datetime, cure: str) -> str:
        """The words of a warning."""
        end = "has ended on" if now >= self.end else "ends on"
        return f"{what} {end} {self.end:%Y-%m-%d %H:%M} UTC: {cure}"


def warnings(credentials: Credentials, now: datetime) -> Iterator[tuple[str, int, str]]:
    """Yield what is about to end of a holder and the authorities above it: what, the warning's step, and a text."""
    trust = credentials.trust
    for what, pem, cure in (
        (f"the certificate of {credentials.identity.uri}", credentials.chain, "renew it"),
        ("the site CA", trust.site_ca, "the federation needs a new one"),
        ("the experiment CA", trust.experiment_ca, "the federation needs a new one"),
        ("the root", trust.root, "the federation needs a new one"),
    ):
        life = ValidityPeriod.of(pem, what)
        step = life.days_to_warn(now)
        if step is not None:
            yield what, step, life.told(what, now, cure)
