"""A vector, a loader and a runner that fail where, when and how their settings say."""

import asyncio
import builtins
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from openfl_like import errors
from openfl_like.federation.seeds import assignment_seed
from openfl_like.federation.task import Phase
from openfl_like.frameworks.runner import RunnerContext, Shard, TaskResult

SEED = 3
MOST_ROUNDS = 10


class NoData(Exception):  # noqa: N818 (as submitted code may call its own)
    """An exception of a workspace."""


class Error(Exception):
    """Another one."""


class Mute(Exception):  # noqa: N818 (as above)
    """One that cannot say what it is about."""

    def __str__(self) -> str:
        """Fails."""
        raise RuntimeError("even this fails")


class HalfACharacter(Exception):  # noqa: N818 (as above)
    """One that quotes a file name of which not every byte is text."""

    def __str__(self) -> str:
        """Has what no encoding takes."""
        return f"no such scan: {os.fsdecode(b'caf' + bytes([0xE9]))}.png"


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and where.

    Attributes:
        site: At which site; empty: at all.
        at: In which function.
        phase: In which phase; empty: in any.
        round: In which round; None: in any.
        raises: Class of an exception: of this module, a builtin one, or one of the platform's own.
        says: What it says.
        does: Instead: ``kill``, ``kill-parent`` or ``hang``.
        gives: Instead, what the function gives: ``nothing``, ``nan``, ``text`` or ``fewer-than-none``.
    """

    site: str = ""
    at: str = ""
    phase: str = ""
    round: int | None = None
    raises: str = ""
    says: str = ""
    does: str = ""
    gives: str = ""

    def strike(self, site: str, at: str, moment: tuple[str, int] | None = None) -> None:
        """Goes wrong, if this is the place and the time."""
        if not self.is_here(site, at, moment):
            return
        match self.does:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill-parent":
                os.kill(os.getppid(), signal.SIGKILL)
                signal.pause()
            case "hang":
                signal.pause()
        if self.raises:
            raise class_of(self.raises)(*([self.says] if self.says else []))

    def is_here(self, site: str, at: str, moment: tuple[str, int] | None) -> bool:
        """Whether this is the place and the time."""
        if self.at != at or self.site not in {"", site}:
            return False
        return moment is None or (self.phase in {"", moment[0]} and self.round in {None, moment[1]})


def class_of(name: str) -> type[BaseException]:
    """Finds an exception by its name."""
    known = {**vars(asyncio), **vars(errors), **vars(builtins), **globals()}
    kind: type[BaseException] = known[name]
    return kind


class Loader:
    """Knows its site.

    Args:
        shard: The site's shard.
        fault: See `Fault`.
    """

    num_train = 10
    num_validate = 5

    def __init__(self, shard: Shard, fault: Mapping[str, object] | None = None) -> None:
        self.site = str(getattr(shard, "site", ""))
        Fault(**(fault or {})).strike(self.site, "loader")  # type: ignore[arg-type] # of the plan

    def train_batches(self, seed: int, epoch: int) -> list[object]:
        """Not used."""
        return []

    def validate_batches(self) -> list[object]:
        """Not used."""
        return []


class Runner:
    """A float32 vector.

    Args:
        loader: Knows the site.
        context: Not looked at.
        fault: See `Fault`.
    """

    def __init__(self, loader: Loader, context: RunnerContext, *, fault: Mapping[str, object] | None = None) -> None:
        self._site, self._fault = loader.site, Fault(**(fault or {}))  # type: ignore[arg-type] # of the plan
        self._vector: np.ndarray = np.zeros(8, np.float32)
        self._moment = ("", 0)
        self._strike("runner")

    def initialise(self, seed: int) -> None:
        """Draws the vector."""
        self._moment = (Phase.INITIALISE.value, 0)
        self._strike("initialise")
        self._vector = np.random.default_rng(seed).standard_normal(len(self._vector), np.float32)

    def begin(self, seed: int) -> None:
        """Finds out which assignment it is."""
        moments = [(phase.value, number) for phase in Phase for number in range(1, MOST_ROUNDS)]
        by_seed = {assignment_seed(SEED, number, self._site, phase): (phase, number) for phase, number in moments}
        self._moment = by_seed[seed]
        self._strike("begin")

    def get_tensors(self) -> dict[str, np.ndarray]:
        """The vector."""
        self._strike("get_tensors")
        return {"vector": self._vector}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Takes the vector."""
        self._strike("set_tensors")
        self._vector = np.array(tensors["vector"])

    def train(self) -> TaskResult:
        """Halves the vector."""
        self._strike("train")
        self._vector = self._vector / 2 if self._gives("train") != "nan" else np.full(8, np.nan, np.float32)
        return self._result("train")

    def validate(self) -> TaskResult:
        """Tells how long it is."""
        self._strike("validate")
        return self._result("validate")

    def _result(self, at: str) -> TaskResult:
        loss: float | str = float(np.abs(self._vector).max()) if self._gives(at) != "nan" else 1.0
        match self._gives(at):
            case "nothing":
                return None  # type: ignore[return-value] # that is what goes wrong
            case "text":
                loss = "quite good; site 'x'"
            case "fewer-than-none":
                return TaskResult(-1, {"loss": loss})  # type: ignore[dict-item] # as below
        return TaskResult(10, {"loss": loss})  # type: ignore[dict-item] # as above

    def _strike(self, at: str) -> None:
        self._fault.strike(self._site, at, self._moment)

    def _gives(self, at: str) -> str:
        return self._fault.gives if self._fault.is_here(self._site, at, self._moment) else ""
