"""What a simulation gives a worker to do for its sites, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openfl_like.federation.task import Assignment
from openfl_like.processes.worker import assignment_from_json, assignment_to_json, fields_of

MOST_BYTES = 1 << 20
"""An update that is no larger goes to the parent in no file."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all sites of a simulation have in common, for its workers.

    Attributes:
        plan: The frozen plan's file.
        workspace: Where its code is.
        directory: Where each site has a folder of its own.
        device: What the sites compute on.
    """

    plan: str
    workspace: str
    directory: str
    device: str


@dataclass(frozen=True, slots=True)
class SiteOrder:
    """What a worker does for one site.

    Attributes:
        site: Whose data it is done with.
        shard: The site's shard.yaml; empty: the plan has the site made.
        assignment: What is to be done; None: model and data are loaded, no more.
        model: The file of the model to start from; empty if there is none.
        out: The place of the update's file.
    """

    site: str
    shard: str = ""
    assignment: Assignment | None = None
    model: str = ""
    out: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it as JSON values."""
        work = None if self.assignment is None else assignment_to_json(self.assignment)
        return {"site": self.site, "shard": self.shard, "assignment": work, "model": self.model, "out": self.out}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SiteOrder":
        """Return the order of JSON values."""
        work = value["assignment"]
        return cls(**{**value, "assignment": None if work is None else assignment_from_json(work)})


@dataclass(frozen=True, slots=True)
class Batch:
    """Orders that a worker carries out one after the other."""

    setting: Setting
    orders: tuple[SiteOrder, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {"setting": fields_of(self.setting), "orders": [order.to_json() for order in self.orders]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Batch":
        """Return the batch of JSON values."""
        return cls(Setting(**value["setting"]), tuple(map(SiteOrder.from_json, value["orders"])))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an order.

    Attributes:
        told: The update, or the error, as JSON values.
        content: The bytes of the update's model file; None if it is in a file, if anywhere.
    """

    told: Mapping[str, Any]
    content: bytes | None = None
