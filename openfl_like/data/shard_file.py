"""A site's ``shard.yaml``, read by daemons that never hold the data itself."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from openfl_like.data.policy import (
    DEFAULT_MONITORS,
    EnvironmentPolicy,
    LimitPolicy,
    LogPolicy,
    MonitorChoice,
    PublishPolicy,
    Sandbox,
    allowed_devices,
    sandbox_level,
)
from openfl_like.errors import SettingsError
from openfl_like.federation.parties import NO_TERMS, ShardFacts, SiteTerms
from openfl_like.plan.document import load_document
from openfl_like.plan.paths import is_at_home, written_path
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Name, named_only


class ShardConfig(BaseModel):
    """A site's ``shard.yaml``: which shard class, its keyword arguments, and what the site allows.

    Attributes:
        template: Which shard class.
        params: Its keyword arguments; paths among them are relative to the file, see `load_shard_config`.
        environment: Whether packages that workspaces ask for are installed here.
        devices: What workers may use: ``auto`` (the CPU, and all GPUs that the monitors find) or a list of ``cpu``,
            ``cuda`` (all that they find) and ``cuda:0``, ``cuda:1`` …
        device_monitors: What reads the state of this machine for the heartbeats.
        logs: Whether what is logged here goes to the Director.
        limits: What an experiment may take of this site.
        publish: What is told of the data.
        sandbox: Whether workers confine themselves.
        reads: What workers may read besides what they are given and what ``params`` name, relative to the file.
        experiments_at_once: How many experiments the site bears at once.
        interface: The federation's name for data of this kind; None: it has one kind only, without a name.
        cross_evaluation: Whether other sites may be shown what is trained here, to score it; experiments whose plan
            wants that are refused otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    params: dict[str, JsonValue] = Field(default_factory=dict)
    environment: EnvironmentPolicy = EnvironmentPolicy()
    devices: Annotated[str | tuple[str, ...], BeforeValidator(allowed_devices)] = "auto"
    device_monitors: tuple[Annotated[MonitorChoice, BeforeValidator(named_only)], ...] = DEFAULT_MONITORS
    logs: LogPolicy = LogPolicy()
    limits: LimitPolicy = LimitPolicy()
    publish: PublishPolicy = PublishPolicy()
    sandbox: Annotated[Sandbox, BeforeValidator(sandbox_level)] = Sandbox.BEST
    reads: tuple[Path, ...] = ()
    experiments_at_once: Annotated[int, Field(ge=1)] = 1
    interface: Name | None = None
    cross_evaluation: Literal["allow", "refuse"] = "allow"


def load_shard_config(path: Path, home: str = "") -> ShardConfig:
    """Read a ``shard.yaml``; the paths in it become absolute.

    Args:
        path: The file.
        home: What ``~`` and ``$HOME`` mean in it; default: the home directory of the user.

    Raises:
        SettingsError: If the file is missing, is not YAML, or has an unknown or missing key.
    """
    found = load_document(path, ShardConfig, SettingsError)
    folder = path.resolve().parent
    try:
        reads = tuple(folder / written_path(read, home) for read in found.reads)
        environment = _at_home(found.environment, home)
    except ValueError as error:
        raise SettingsError(str(error), place=str(path)) from error
    params = placed_params(found.params, folder, home)
    return found.model_copy(update={"params": params, "reads": reads, "environment": environment})


def _at_home(policy: EnvironmentPolicy, home: str) -> EnvironmentPolicy:
    places = {"wheelhouse": policy.wheelhouse, "python": policy.python}
    return policy.model_copy(update={key: written_path(at, home) for key, at in places.items() if at is not None})


def placed_params(params: Mapping[str, JsonValue], folder: Path, home: str = "") -> dict[str, JsonValue]:
    """Return params in which the texts that are paths are absolute; they are relative to the folder."""
    return {name: _placed(value, folder, home) for name, value in params.items()}


def _placed(value: JsonValue, folder: Path, home: str) -> JsonValue:
    """Return a param in which the texts that are paths are absolute: those at home, and those of what is there.

    A text counts as a path of the file's folder if it has a ``/`` or a suffix and there is such a file or folder: a
    word that is not meant as one stays a word.
    """
    if isinstance(value, dict):
        return {key: _placed(item, folder, home) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, folder, home) for item in value]
    if not isinstance(value, str):
        return value
    if is_at_home(value):
        return str(written_path(value, home))
    looks_like_path = ("/" in value or bool(Path(value).suffix)) and "\0" not in value
    try:
        return str(folder / value) if looks_like_path and (folder / value).exists() else value
    except OSError:  # a text that is longer than a name may be
        return value


def shares_logs(path: Path) -> bool:
    """Whether a ``shard.yaml`` lets log lines out; one that cannot be read does not."""
    try:
        return load_shard_config(path).logs.share
    except SettingsError:
        return False


def refuse_unwanted(plan: Plan, path: Path) -> None:
    """Refuse a plan that wants what a site does not do.

    Raises:
        SettingsError: If other sites would be shown its updates, and its ``shard.yaml`` does not allow it.
    """
    if plan.cross_evaluation is not None and load_shard_config(path).cross_evaluation == "refuse":
        raise SettingsError(
            "the plan has other sites score this site's updates (cross_evaluation), which this site refuses",
            place=str(path),
            cure="leave cross_evaluation out of the plan, or the site out of the experiment",
        )


def published(facts: ShardFacts, config: ShardConfig) -> ShardFacts:
    """Return what may be told of a shard: what it says of itself, less what its site keeps to itself.

    A shard may take its ranges from its data, so of these only what the site has written down is told.

    Args:
        facts: What the shard says.
        config: What the site tells.
    """
    policy = config.publish
    told = {name: value for name, value in facts.schema.items() if name not in _RANGES}
    for name, tells in (("classes", policy.classes), ("counts", policy.counts)):
        if not tells:
            told.pop(name, None)
    stated = {"sample_range": policy.sample_range, "target_range": policy.target_range}
    told |= {name: list(value) for name, value in stated.items() if value is not None}
    return replace(facts, schema=told, terms=terms_of(config) if policy.terms else NO_TERMS)


_RANGES = ("sample_range", "target_range")


def terms_of(config: ShardConfig) -> SiteTerms:
    """Return what a site takes of an experiment."""
    devices = (config.devices,) if isinstance(config.devices, str) else config.devices
    return SiteTerms(config.limits.model_bytes, config.environment.install_requirements, devices)
