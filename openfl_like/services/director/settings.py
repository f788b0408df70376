"""director.yaml: how a Director is set up."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from openfl_like.errors import PlanError, SettingsError
from openfl_like.federation.components import check_needs
from openfl_like.federation.parties import Interface
from openfl_like.federation.ports import MOST_RETRY_S, LeaveOrder
from openfl_like.pki.certificate import AuthorityKind
from openfl_like.pki.ledger import Ledger
from openfl_like.plan.address import MAX_PORT, bare_host, checked_address, checked_host
from openfl_like.plan.document import Tree, load_document, parse_tree, read_text, validate
from openfl_like.plan.mistakes import did_you_mean
from openfl_like.plan.paths import path_in_file
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Name, PartOrigin, Section
from openfl_like.processes.referee.limits import USUAL
from openfl_like.processes.sandbox.confinement import Confinement
from openfl_like.store.director_files import DirectorFiles
from openfl_like.wire.channel import SILENCE_S

MISSED_HEARTBEATS = 4
HOUR_S = 3600.0
PORTS_EACH = 2
"""Of an Aggregator: one for calls, one for data connections."""
_SHAPES = ("sample_shape", "target_shape")


def _address(text: str) -> str:
    return checked_address(text, least_port=0)


def _port_range(text: str) -> str:
    parts = text.split("-")
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(numbers) != len(parts) or len(parts) > 2 or sorted(numbers) != numbers or numbers[-1] > MAX_PORT:
        raise ValueError(f"must be a port or a range 'first-last' of ports up to {MAX_PORT}, not '{text}'")
    return text


def _range_of(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _number_as_text(value: object) -> object:
    """Take a port that stands without quotes for the text that it is."""
    return str(value) if type(value) is int else value


HomePath = Annotated[Path, BeforeValidator(path_in_file)]
Address = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_address)]
PortRange = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_port_range)]


Shape = tuple[Annotated[int, Field(ge=0)], ...]


class InterfaceSection(Section):
    """One of the data interfaces: the shapes that every shard of it must have."""

    sample_shape: Shape
    target_shape: Shape


class RefereeKind(StrEnum):
    """What runs parts of a round that a workspace brings."""

    OFF = "off"
    PROCESS = "process"


def _off(value: object) -> object:
    """Take YAML's other way to write ``off`` for that word."""
    return RefereeKind.OFF if value is False else value


class RefereeLimitsSection(Section):
    """What a referee may take.

    Attributes:
        decision_s: Seconds for an answer that the whole Aggregator waits for: of a selector, an assigner, a policy for
            work, a controller.
        block_s: Seconds for an answer of a validator, rule, server optimizer or algorithm, for one block or update.
        memory_mb: MiB of address space; PyTorch alone takes some thousand.
    """

    decision_s: Annotated[float, Field(gt=0, le=10)] = USUAL.decision_s
    block_s: Annotated[float, Field(gt=0)] = USUAL.block_s
    memory_mb: Annotated[int, Field(ge=256)] = USUAL.memory_mb


class LeaveSection(Section):
    """What envoys are told when the Director is stopped.

    Attributes:
        retry_after_s: Seconds after which they look for it again, at most a day; up to a tenth more, each another part.
        message: Why, for people at the sites.
    """

    retry_after_s: Annotated[float, Field(ge=0, le=MOST_RETRY_S)]
    message: Annotated[str, Field(max_length=200)] = "the director is being stopped"


class DirectorFile(Section):
    """The keys of director.yaml; paths are relative to the file, ``~`` and ``$HOME`` are the home directory.

    Attributes:
        listen: ``host:port`` for envoys and users.
        aggregator_host: Host name under which envoys reach Aggregators; default: the host of ``listen``.
        aggregator_ports: Port or range ``first-last`` for Aggregators, which take two; 0 takes any free ones.
        sample_shape: Shape of one sample that every shard must have; left out where there are ``interfaces``.
        target_shape: Shape of one target that every shard must have; left out where there are ``interfaces``.
        interfaces: Name -> the shapes of one kind of data, where there are several.
        parallel: How many experiments run at once, where their sites are free; each needs two of ``aggregator_ports``.
        certificates: Folder with the Director's certificate and key.
        experiment_ca: Folder with the experiment authority, which signs the certificates of one experiment.
        state: Directory for everything the Director remembers.
        heartbeat_s: Seconds between an envoy's heartbeats; more when there are so many envoys that all of them together
            would send more than 50 a second.
        certificate_hours: Lifetime of the certificates of one experiment.
        revocations: File with the site CA's signed revocation list, where something keeps it new; default: the list of
            the site CA itself, where its folder is beside that of the experiment authority. A Director that was
            enrolled by token asks the site CA's server besides.
        referee: Whether parts of a round may be code of the workspace: ``process`` runs them beside the Aggregator, in
            processes without key, network and files; see docs/workspace-parts.md. Default: ``off``, they are refused.
        referee_limits: What such a process may take.
        leave: What envoys are told when the Director is stopped; default: nothing, and they look for it at once.
        retention_days: Experiments that ended longer ago are removed, as by ``fx experiment remove``; default: none is.
    """

    listen: Address = "localhost:50050"
    aggregator_host: Annotated[str, AfterValidator(checked_host)] | None = None
    aggregator_ports: PortRange = "50051-50099"
    sample_shape: Shape
    target_shape: Shape
    interfaces: dict[Name, InterfaceSection] = Field(default_factory=dict)
    parallel: Annotated[int, Field(ge=1)] = 1
    certificates: HomePath = Path("certs/director/director")
    experiment_ca: HomePath = Path("certs/experiment-ca")
    state: HomePath = Path("director-state")
    heartbeat_s: Annotated[float, Field(gt=0)] = SILENCE_S / 3
    certificate_hours: Annotated[float, Field(gt=0)] = 48.0
    revocations: HomePath | None = None
    referee: Annotated[RefereeKind, BeforeValidator(_off)] = RefereeKind.OFF
    referee_limits: RefereeLimitsSection = RefereeLimitsSection()
    retention_days: Annotated[float, Field(gt=0)] | None = None
    leave: LeaveSection | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_way_to_say_it(cls, values: object) -> object:
        """Have the shapes empty where there are interfaces; both are a mistake."""
        if not isinstance(values, dict) or not values.get("interfaces"):
            return values
        if both := [key for key in _SHAPES if key in values]:
            raise ValueError(f"{' and '.join(both)} and interfaces exclude each other; leave out one of them")
        return {**values, **dict.fromkeys(_SHAPES, ())}

    @field_validator("certificate_hours")
    @classmethod
    def _outlasts_a_session(cls, hours: float, info: ValidationInfo) -> float:
        silence_s = MISSED_HEARTBEATS * info.data.get("heartbeat_s", 0.0)
        if hours * HOUR_S <= silence_s:
            raise ValueError(
                f"{hours:g} h are over before a silent envoy is noticed ({MISSED_HEARTBEATS} x heartbeat_s = "
                f"{silence_s:g} s); raise it, or lower heartbeat_s"
            )
        return hours

    @field_validator("parallel")
    @classmethod
    def _has_ports(cls, parallel: int, info: ValidationInfo) -> int:
        named = info.data.get("aggregator_ports")  # not there if it has mistakes of its own
        ports = range(0) if named is None else _range_of(named)
        if parallel > 1 and 0 not in ports and named is not None and len(ports) < parallel * PORTS_EACH:
            last = ports.start + parallel * PORTS_EACH - 1
            raise ValueError(
                f"{parallel} experiments at once take {parallel * PORTS_EACH} ports, {PORTS_EACH} each, and "
                f"aggregator_ports {named} has {len(ports)}; widen it to {ports.start}-{last}, or lower parallel"
            )
        return parallel

    @property
    def leave_order(self) -> LeaveOrder | None:
        """What envoys are told when the Director is stopped; None: nothing."""
        return None if self.leave is None else LeaveOrder(self.leave.message, self.leave.retry_after_s)

    @property
    def agreed(self) -> tuple[Interface, ...]:
        """The data interfaces; one without a name where there are no ``interfaces``."""
        named = self.interfaces.items()
        found = tuple(Interface(name, one.sample_shape, one.target_shape) for name, one in named)
        return found or (Interface("", self.sample_shape, self.target_shape),)

    @property
    def part_origin(self) -> PartOrigin:
        """Where the parts of a round may come from."""
        return PartOrigin.REGISTERED if self.referee is RefereeKind.OFF else PartOrigin.WORKSPACE

    @property
    def files(self) -> DirectorFiles:
        """Names of what is kept in the state directory."""
        return DirectorFiles(self.state)

    @property
    def revocation_list(self) -> Path | None:
        """The file to look at for the revocation list; None: there is none to be expected on this machine."""
        site_ca = self.experiment_ca.parent / AuthorityKind.SITE.value
        return self.revocations or (Ledger(site_ca).revocations if site_ca.is_dir() else None)

    @property
    def ports(self) -> range:
        """The ports for Aggregators."""
        return _range_of(self.aggregator_ports)

    @property
    def reachable_host(self) -> str:
        """The host that envoys dial for Aggregators, an IPv6 address without brackets."""
        return self.aggregator_host or bare_host(self.listen.rpartition(":")[0])


def load_director_file(path: Path) -> DirectorFile:
    """Read director.yaml and make its paths absolute.

    Raises:
        SettingsError: If it is missing or has mistakes; all of them are named.
    """
    return _placed(load_document(path, DirectorFile, SettingsError), path)


def read_director_file(path: Path) -> DirectorFile | None:
    """Read of a director.yaml what can be used, for looking at the rest; None: the file is missing, or is no YAML.

    Keys with mistakes count as left out, a shape that is missing or wrong as ``[]``.
    """
    try:
        tree = parse_tree(read_text(path, SettingsError), str(path))
    except SettingsError:
        return None
    data = dict(tree.data) if isinstance(tree.data, dict) else None
    while data is not None:
        found, mistakes = validate(Tree(str(path), data), DirectorFile)
        if found is not None:
            return _placed(found, path)
        for mistake in mistakes:
            key = mistake.path[0] if mistake.path else ""
            if data.pop(key, None) is None and key not in _SHAPES:
                return None
            if key in _SHAPES:
                data[key] = []
    return None


def _placed(found: DirectorFile, path: Path) -> DirectorFile:
    """Make the paths of a file absolute."""
    base = path.resolve().parent
    named = [name for name in ("certificates", "experiment_ca", "state", "revocations") if getattr(found, name)]
    return found.model_copy(update={name: base / getattr(found, name) for name in named})


def check_times(plan: Plan, settings: DirectorFile) -> None:
    """Check that nothing in a plan may last longer than the certificates of its experiment.

    Raises:
        PlanError: Naming the key and both ways out.
    """
    most_s = settings.certificate_hours * HOUR_S
    deadline = plan.deadline
    limits = {
        "admission.timeout_s": plan.admission.timeout_s,
        "deadline.train_s": deadline.training_limit_s,
        "deadline.round_s": deadline.round_s,
        "deadline.rejoin_s": deadline.return_limit_s,
    }
    for key, seconds in limits.items():
        if seconds is not None and seconds >= most_s:
            raise PlanError(
                f"{seconds:g} s is longer than the certificates of an experiment last ({most_s:g} s)",
                place=key,
                cure="lower it, or have certificate_hours in director.yaml raised",
            )


def check_referee(settings: DirectorFile, reached: Confinement) -> None:
    """Check that a referee can be confined here.

    Args:
        settings: director.yaml.
        reached: What the kernel offers.

    Raises:
        SettingsError: If it cannot, and director.yaml wants one.
    """
    if settings.referee is RefereeKind.PROCESS and not reached.sufficient:
        raise SettingsError(
            f"a referee would run code of workspaces, and this kernel does not close {', '.join(reached.gaps)}",
            place="referee",
            cure="use a kernel with Landlock (Linux 6.2 or later) and seccomp, or write 'referee: off'",
        )


def check_plan_here(plan: Plan, settings: DirectorFile) -> None:
    """Check what a plan asks of this Director: times, its data interface, and what its selectors go by.

    Raises:
        PlanError: Naming the key and the ways out.
    """
    check_times(plan, settings)
    check_needs(plan, simulated=False)
    known = [one.name for one in settings.agreed if one.name]
    if plan.interface is None and known:
        problem, cure = "this federation has several kinds of data", f"name one of its interfaces: {', '.join(known)}"
    elif plan.interface is not None and not known:
        problem, cure = "the data interfaces of this federation have no names", "leave the key out"
    elif plan.interface is not None and plan.interface not in known:
        problem, cure = f"this federation has no interface '{plan.interface}'", did_you_mean(plan.interface, known)
    else:
        return
    raise PlanError(problem, place="interface", cure=cure)
