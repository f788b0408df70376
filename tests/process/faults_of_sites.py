"""Thirty ways in which an experiment goes wrong, each with what ``fx experiment why`` has to answer."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from federations import ASSETS

from openfl_like.federation.history.cause import Condition

FAULTY = ASSETS / "faulty"
PLAN = FAULTY / "plan.yaml"
SITES = ("site-1", "site-2")
WORDS = (
    "plain",
    "round 9: the updates could not be combined: site 'x' refused: no",
    "left: nothing; site 'x' failed in task 'y': TypeError: z",
    "'quoted' \"twice\" `and` \\\\ once; site 'x'",
    "first line\nsecond: ValueError: third; site 'x'\r\nthe aggregator ended: FAILED",
    "café ☕ {braces} [red]markup[/red] %s; site 'x'",
)
RULE = "always_failing"
DOES_NOT_INSTALL, INSTALLS = SITES
KILLS_ITS_PARENT = "site-2"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is right.

    Attributes:
        site: Which site; empty: none.
        phase: Which phase.
        round: Which round; None: before the first.
        error: Class of the exception; empty: there was none.
        words: What the message is, or has in it.
        verdict: How the experiment ended.
    """

    site: str
    phase: str
    round: int | None
    error: str = ""
    words: str = ""
    verdict: Condition = Condition.FAILED


def _measuring(site: str, phase: str, number: int, error: str, words: str) -> Answer:
    """What is right if a site could not measure a model, which ends no experiment."""
    return Answer(site, phase, number, error, words, Condition.DEGRADED)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong.

    Attributes:
        name: For people.
        answer: What ``why`` has to say.
        overrides: Of the plan.
        shard: What the data of the second site raises, and says; empty: nothing.
        lock: A line of the workspace's ``requirements.lock``.
    """

    name: str
    answer: Answer
    overrides: tuple[str, ...] = ()
    shard: tuple[str, ...] = ()
    lock: str = ""


def _override(key: str, **values: object) -> str:
    return f"{key}={json.dumps(values)}"


def _alone(site: str) -> tuple[str, ...]:
    """Has only one site take part, which is quicker."""
    return (f"admission.collaborators=[{site}]",)


def _raised(at: str, answer: Answer, says: str = "", part: str = "task_runner", *, alone: bool = True) -> Fault:
    """An exception of the workspace's code."""
    when = {"phase": answer.phase, "round": answer.round} if part == "task_runner" and at != "runner" else {}
    fault = _override(f"{part}.settings.fault", site=answer.site, at=at, raises=answer.error, says=says, **when)
    name = f"{at} raises {answer.error} in round {answer.round} at {answer.site}"
    return Fault(name, answer, (fault, *(_alone(answer.site) if alone else ())))


def _train(site: str, number: int, error: str, says: str, *, alone: bool = True) -> Fault:
    """An exception in training, whose message comes back as one line."""
    said = repr(says) if error == "KeyError" else says
    return _raised("train", Answer(site, "train", number, error, " ".join(said.split())), says, alone=alone)


def _happens(answer: Answer, *overrides: str, at: str = "train", **how: object) -> Fault:
    """Something that is no exception."""
    fault = _override(
        "task_runner.settings.fault", site=answer.site, at=at, phase=answer.phase, round=answer.round, **how
    )
    return Fault(f"{at}: {how}", answer, (fault, *_alone(answer.site), *overrides))


FAULTS = (
    _train("site-1", 1, "NoData", WORDS[1], alone=False),
    _train("site-2", 2, "NoData", WORDS[4], alone=False),
    _train("site-2", 1, "StopIteration", WORDS[2], alone=False),
    _train("site-1", 2, "Error", "long; site 'x' " * 30),
    _train("site-1", 1, "KeyError", "age"),
    _train("site-2", 2, "ValueError", WORDS[5]),
    _train("site-1", 2, "SystemExit", WORDS[2]),
    _train("site-2", 1, "CancelledError", WORDS[1]),
    _raised("train", Answer("site-2", "train", 1, "Mute")),
    _raised("train", Answer("site-1", "train", 1, "HalfACharacter", ".png")),
    _raised("initialise", Answer("site-1", "initialise", 0, "StopIteration", WORDS[1]), WORDS[1]),
    _raised("begin", Answer("site-2", "train", 2, "MemoryError", WORDS[2]), WORDS[2]),
    _raised("set_tensors", Answer("site-1", "train", 2, "TensorError", WORDS[1]), WORDS[1]),
    _raised("validate", _measuring("site-2", "evaluate", 1, "NoData", WORDS[3]), WORDS[3], alone=False),
    _raised(
        "loader", Answer("site-2", "train", 1, "FileNotFoundError", WORDS[2]), WORDS[2], part="data_loader", alone=False
    ),
    _raised("runner", Answer("site-2", "train", 1, "ImportError", WORDS[1]), WORDS[1], alone=False),
    Fault(
        "the module cannot be imported",
        Answer("site-2", "initialise", 0, "NoData", "nothing to import; site 'x' refused: \"no\""),
        ("data_loader.template=src.broken:Loader", *_alone("site-2")),
    ),
    _happens(
        _measuring("site-2", "evaluate", 2, "", "returned NoneType, not a TaskResult"), at="validate", gives="nothing"
    ),
    _happens(_measuring("site-1", "evaluate", 1, "", "quite good; site 'x'"), at="validate", gives="text"),
    _happens(
        _measuring("site-2", "evaluate", 1, "", "returned -1 (int) as the number of samples"),
        at="validate",
        gives="fewer-than-none",
    ),
    _happens(Answer("site-2", "train", 2, "", "not finite"), gives="nan"),
    _happens(Answer("site-1", "train", 2, "", "SIGKILL"), does="kill"),
    _happens(Answer("site-2", "train", 2, "", "left: "), does="kill-parent"),
    _happens(
        Answer("site-1", "train", 2, "", "longer than 2 s"), "deadline.train_s=1", "deadline.grace_s=1", does="hang"
    ),
    Fault(
        "a quorum is reached, without one site",
        Answer("site-2", "train", 2, "NoData", WORDS[2], Condition.DEGRADED),
        (
            *_train("site-2", 2, "NoData", WORDS[2], alone=False).overrides,
            "participation.policy=quorum",
            "participation.min_updates=1",
        ),
    ),
    Fault(
        "no such device",
        Answer("site-1", "admission", None, "DeviceError", "cuda"),
        ("collaborator.settings.device=cuda:7", *_alone("site-1")),
    ),
    Fault(
        "a site that is not there",
        Answer("site-9", "admission", None, "", "site-9"),
        ("admission.collaborators=[site-1, site-9]", "admission.timeout_s=1"),
    ),
    Fault(
        "a rule of aggregation raises",
        Answer("", "aggregate", 1, "NoData", " ".join(WORDS[4].split())),
        (*_alone("site-1"), f"aggregation.template={RULE}", _override("aggregation.settings", says=WORDS[4])),
    ),
    Fault(
        "a package that is nowhere",
        Answer(INSTALLS, "environment", None, "RequirementsError", "tiny"),
        _alone(INSTALLS),
        lock=f"tiny-thing==1.0 --hash=sha256:{'0' * 64}",
    ),
    Fault(
        "the data raises",
        Answer("site-2", "train", 1, "NoData", " ".join(WORDS[4].split())),
        shard=("NoData", WORDS[4]),
    ),
)


def write_site(folder: Path, site: str) -> Path:
    """Writes a site whose data can fail."""
    folder.mkdir(parents=True)
    shutil.copyfile(FAULTY / "shards" / "named_shard.py", folder / "named_shard.py")
    policy = "environment: {install_requirements: true, wheelhouse: house}\n" if site == INSTALLS else ""
    (folder / "house").mkdir()
    policy += "sandbox: off\n" if site == KILLS_ITS_PARENT else ""  # which a confined worker cannot
    shard = folder / "shard.yaml"
    shard.write_text(f"template: named_shard:NamedShard\nparams: {{site: {site}}}\nreads: [.]\n{policy}")
    return shard


def write_plan(folder: Path, fault: Fault) -> Path:
    """Writes the workspace of a fault."""
    if not fault.lock:
        return PLAN
    shutil.copytree(FAULTY, folder, ignore=shutil.ignore_patterns("__pycache__", "shards"))
    (folder / "requirements.lock").write_text(fault.lock + "\n")
    return folder / "plan.yaml"


@dataclass(slots=True)
class Package:
    """An installed package with an aggregation rule that raises.

    Args:
        folder: Where it is; to be on the path of whoever may need it.
    """

    folder: Path
    _texts: Mapping[str, str] = field(
        default_factory=lambda: {
            "failing_rule.py": "\n".join(
                (
                    "class NoData(Exception): ...",
                    "class Failing:",
                    "    def __init__(self, says): self.says = says",
                    "    def factors(self, weights): raise NoData(self.says)",
                    "    def reduce(self, blocks, weights): raise NoData(self.says)",
                    "",
                )
            ),
            "failing_rule-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: failing_rule\nVersion: 1.0\n",
            "failing_rule-1.0.dist-info/entry_points.txt": (
                f"[openfl_like.aggregation]\n{RULE} = failing_rule:Failing\n"
            ),
        }
    )

    def write(self) -> Path:
        """Writes it."""
        for name, text in self._texts.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.folder
