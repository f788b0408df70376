"""How many bytes of models and updates an experiment has moved, as far as the rules of the round know it."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class TrafficCount:
    """What has gone from the Aggregator to the sites, and come back.

    A model counts with the size of its file for each site that is asked to work on it, once a model and site: sites
    keep the newest one. An update counts with the size of its file, as it was encoded, when it is taken. What is sent
    again after a broken connection, messages, and what never came to its end do not count, so that the numbers follow
    from the course of the experiment alone, in a simulation as in a federation.

    Attributes:
        sent_bytes: Of models.
        received_bytes: Of updates.
        model_bytes: The size of the newest model; 0: it is not known.
        given: Site -> the last model that it was given.
    """

    sent_bytes: int = 0
    received_bytes: int = 0
    model_bytes: int = 0
    given: dict[str, str] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """In both directions."""
        return self.sent_bytes + self.received_bytes

    def give(self, site: str, digest: str) -> None:
        """Count a model that a site is asked to work on, unless it has it already.

        Args:
            site: Its name.
            digest: Identity of the model; empty: it is asked to make one.
        """
        if digest and self.given.get(site) != digest:
            self.given[site] = digest
            self.sent_bytes += self.model_bytes
