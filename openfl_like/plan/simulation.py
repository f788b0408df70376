"""The ``simulation:`` section of a plan: its sites, and the devices that they work on."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from openfl_like.plan.section import Component, Section, Settings, named_only


class LabelNoise(Section):
    """Wrong labels among those that are trained on, to see what they do; the held-out samples keep theirs.

    Attributes:
        fraction: Part of the labels of a site that are replaced, each by any other one.
        sites: Part of the sites that have such labels.
    """

    fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    sites: Annotated[float, Field(gt=0, le=1)] = 1.0


class ShardChoice(Section):
    """A data set that is on this machine: a kind of shard and its ``params``, or a file like shard.yaml."""

    template: str
    params: Settings = Field(default_factory=dict)


def is_shard_file(template: str) -> bool:
    """Whether a data set is named by a file, and not by the kind of its shard."""
    return template.endswith((".yaml", ".yml"))


WithoutSamples = Literal["refuse", "merge", "drop"]
MOST_SITES = 1_000_000


class SitesSection(Section):
    """Sites that are made: parts of one data set, or each with a shard of its own.

    Attributes:
        count: How many; none: as many as ``admission.collaborators`` names, which are called so.
        shard: The data set of which each is a part; either this or ``each``.
        each: The shard that each has, which is given the number of the site; nothing is dealt out.
        partitioner: Which of its samples go to which site.
        seed: Seed of that; none: the plan's.
        without_samples: What is done about a site that has none to train on, or none that are held out: ``refuse`` to
            begin, ``merge`` it with the smallest other one, or ``drop`` it.
        label_noise: Wrong labels.
    """

    count: Annotated[int, Field(ge=1, le=MOST_SITES)] | None = None
    shard: Annotated[ShardChoice, BeforeValidator(named_only)] | None = None
    each: Annotated[ShardChoice, BeforeValidator(named_only)] | None = None
    partitioner: Component = Component(template="iid")
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    without_samples: WithoutSamples = "refuse"
    label_noise: LabelNoise = LabelNoise()


class Quantity(Component):
    """A number of a device, or the generator that draws it; a bare number is always the same."""

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"template": "constant", "settings": {"value": value}}
        if not isinstance(value, str | dict | Quantity):
            raise ValueError("must be a number, or a generator: its template and settings")  # noqa: TRY004 (pydantic's)
        return named_only(value)

    @model_serializer(mode="wrap")
    def _bare(self, write: SerializerFunctionWrapHandler) -> object:
        return self.settings["value"] if self.template == "constant" and [*self.settings] == ["value"] else write(self)


def constant(value: float) -> Quantity:
    """Return a quantity that is always the same."""
    return Quantity(template="constant", settings={"value": value})


class DeviceNetwork(Section):
    """How simulated devices are connected.

    Attributes:
        down_bytes_per_s: How fast models come; none: at once.
        up_bytes_per_s: How fast updates go; none: at once.
        latency_s: What each of the two takes besides.
    """

    down_bytes_per_s: Quantity | None = None
    up_bytes_per_s: Quantity | None = None
    latency_s: Quantity = constant(0)


class DevicePower(Section):
    """What simulated devices draw, in watts, while they compute, send or receive, or wait for the end of the round."""

    computing_w: Quantity = constant(0)
    sending_w: Quantity = constant(0)
    idle_w: Quantity = constant(0)


class DeviceSection(Section):
    """The devices of the sites of a simulation, which then runs in virtual time.

    Attributes:
        speed: How many samples, or steps, a device trains on in a second.
        unit: What `speed` counts.
        evaluates_faster: How many times faster a device evaluates than it trains.
        network: How it is connected.
        power: What it draws.
        availability: When it is there.
        failures: The probability with which it fails over an assignment.
    """

    speed: Quantity
    unit: Literal["samples", "steps"] = "samples"
    evaluates_faster: Annotated[float, Field(gt=0)] = 3.0
    network: DeviceNetwork = DeviceNetwork()
    power: DevicePower = DevicePower()
    availability: Annotated[Component, BeforeValidator(named_only)] = Component(template="always")
    failures: Quantity = constant(0)


class SimulationSection(Section):
    """The ``simulation:`` section, which nothing but ``fx simulate`` goes by.

    Attributes:
        sites: How its sites are made; none: each has a shard file.
        devices: What they work on; none: on this machine, and in its time.
    """

    sites: SitesSection | None = None
    devices: DeviceSection | None = None
