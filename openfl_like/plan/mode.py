"""The ``mode:`` section of the plan: whether a round waits for everybody, or takes updates as they come."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from openfl_like.plan.section import Section

MOST_STALENESS = 1000


class StalenessSettings(Section):
    """What the factor of a stale update is made with.

    Attributes:
        a: How fast it falls, of ``polynomial`` and ``hinge``; none: 0.5.
        b: Up to how many versions it does not, of ``hinge``; none: 4.
    """

    a: Annotated[float, Field(gt=0, le=100)] | None = None
    b: Annotated[int, Field(ge=0, le=MOST_STALENESS)] | None = None


class Staleness(Section):
    """How much less an update changes the model that was trained from an older version.

    The factors are those of Xie et al. 2019 (arXiv:1903.03934, section 5.2), of a staleness of s versions:

    - ``polynomial``: (1 + s) ** -a
    - ``hinge``: 1 up to s = b, then 1 / (a (s - b) + 1)
    - ``constant``: 1
    """

    template: Literal["polynomial", "hinge", "constant"] = "polynomial"
    settings: StalenessSettings = StalenessSettings()

    @model_validator(mode="after")
    def _only_own(self) -> Self:
        own = {"polynomial": {"a"}, "hinge": {"a", "b"}, "constant": set[str]()}[self.template]
        strange = [name for name in ("a", "b") if name not in own and getattr(self.settings, name) is not None]
        if strange:
            raise ValueError(f"{self.template} has no setting {', '.join(strange)}")
        return self

    def factor(self, staleness: int) -> float:
        """Return what the difference of an update is multiplied by that many versions late: above 0, at most 1."""
        a = 0.5 if self.settings.a is None else self.settings.a
        b = 4 if self.settings.b is None else self.settings.b
        if self.template == "polynomial":
            return float((1 + staleness) ** -a)
        if self.template == "hinge" and staleness > b:
            return 1.0 / (a * (staleness - b) + 1.0)
        return 1.0


class BufferedSettings(Section):
    """Settings of the mode ``buffered``.

    Attributes:
        buffer: So many updates make a version of the model.
        concurrency: So many sites train at any time, as far as there are so many.
        staleness: How much less updates count that were trained from older versions.
        most_staleness: Updates of more versions ago do not count, and nobody waits for them.
    """

    buffer: Annotated[int, Field(ge=1)]
    concurrency: Annotated[int, Field(ge=1)]
    staleness: Staleness = Staleness()
    most_staleness: Annotated[int, Field(ge=0, le=MOST_STALENESS)] = 20


class Mode(Section):
    """The ``mode:`` section.

    ``synchronous``: a round asks its cohort and waits for it. ``buffered``: a version is made of the first updates
    that come, while other sites go on to train on the versions that they were given; only this has ``settings``.
    """

    template: Literal["synchronous", "buffered"] = "synchronous"
    settings: BufferedSettings | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if (self.template == "buffered") != (self.settings is not None):
            wanted = "needs settings: buffer and concurrency" if self.settings is None else "has no settings"
            raise ValueError(f"the mode {self.template} {wanted}")
        return self

    @property
    def most_staleness(self) -> int:
        """For how many versions updates may still count after the one that they were asked for."""
        return self.settings.most_staleness if self.settings is not None else 0
