"""What a dry run has found, in words: what it is, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass

from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind
from openfl_like.federation.failure import Failure

_MOST_SITES = 4
_MOST_LINES = 5


@dataclass(frozen=True, slots=True)
class FindingText:
    """A finding for people.

    Attributes:
        what: What was found, in one sentence.
        where: In which file, round, task, at which sites; empty: nowhere in particular.
        cure: What to do.
    """

    what: str
    where: str
    cure: str


def told(found: DryRunFinding) -> FindingText:
    """Put a finding into words."""
    what, cure = _WORDS[found.kind]
    return FindingText(what(found), where_of(found), cure(found) if callable(cure) else cure)


def where_of(found: DryRunFinding) -> str:
    """Say where something was found."""
    file = f"{found.file}:{found.line}" if found.file and found.line else found.file
    phase = {None: "", "initialise": "the initial model"}.get(found.phase, found.phase or "")
    number = f"round {found.round}" if found.round is not None else ""
    task = f"task '{found.task}'" if found.task else ""
    return "; ".join(filter(None, (found.key, file, ", ".join(filter(None, (number, phase, task))), sites_of(found))))


def sites_of(found: DryRunFinding) -> str:
    """Name the sites of a finding."""
    if not found.sites:
        return ""
    more = f" and {len(found.sites) - _MOST_SITES} more" if len(found.sites) > _MOST_SITES else ""
    return f"{'site' if len(found.sites) == 1 else 'sites'} {', '.join(found.sites[:_MOST_SITES])}{more}"


def amount(value: float | None, unit: str) -> str:
    """Return a number with its unit, as people read it."""
    if value is None:
        return "?"
    if unit == "bytes":
        return size(value)
    if unit == "s":
        return seconds(value)
    return f"{value:,.0f} {unit.removesuffix('s') if value == 1 else unit}"


def size(value: float) -> str:
    """Return bytes as people read them: ``1.2 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} GB"


def seconds(value: float) -> str:
    """Return a time as people read it: ``12 ms``, ``3.4 s``, ``5 min``, ``2.1 h``."""
    if value < 1:
        return f"{value * 1000:.3g} ms"
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200)):
        if value < most:
            return f"{value / length:.3g} {unit}"
    return f"{value / 3600:.3g} h"


def _failed(found: DryRunFinding) -> str:
    failure = found.failure
    if failure is None:
        return "the code failed"
    what = f"the task '{failure.task}'" if failure.task else failure.step or "the code"
    return f"{what} {_raised(failure)}"


def _raised(failure: Failure) -> str:
    batch = f"; the batch has {failure.batch}" if failure.batch else ""
    called = f"; the training loop was at '{failure.call}'" if failure.call else ""
    said = f"{failure.error}: {failure.message}" if failure.error else failure.message
    return f"raised {said}{called}{batch}" if failure.error else f"returned something that cannot be used: {said}"


def _ended(found: DryRunFinding) -> str:
    return f"the process that ran the code is gone: {found.failure.message if found.failure else 'nobody knows why'}"


def _said(found: DryRunFinding) -> str:
    return found.failure.said if found.failure is not None else found.said


def _lines(found: DryRunFinding) -> str:
    more = f"; and {len(found.lines) - _MOST_LINES} more" if len(found.lines) > _MOST_LINES else ""
    return f"{'; '.join(found.lines[:_MOST_LINES])}{more}"


def _compared(found: DryRunFinding) -> tuple[str, str]:
    return amount(found.found, found.unit), amount(found.wanted, found.unit)


def _refuses(found: DryRunFinding) -> str:
    match found.name:
        case "certificate":
            return "the site's certificate was revoked"
        case "data":
            return f"the site takes no orders: {found.said}"
        case _:
            asked = f"the interface '{found.said}'" if found.said else "no interface, which this site does not offer"
            return f"the plan is for data of {asked}" + (", which this site does not have" if found.said else "")


def _cure_of_refusal(found: DryRunFinding) -> str:
    match found.name:
        case "certificate":
            return "leave the site out of admission.collaborators, or have it enrol again"
        case "data":
            return "ask the site's operator; its log says more"
        case _:
            return "name one of the site's interfaces in the plan ('fx envoy list' shows them)"


_FILE_CURE = (
    "no site has the files of this machine: put the file into the workspace and name it under include: in the plan, or "
    "let the site's shard give what is in it"
)
_CURES = {
    "PermissionError": _FILE_CURE,
    "FileNotFoundError": _FILE_CURE,
    "ModuleNotFoundError": "name the package in requirements.txt, then: fx workspace lock",
    "ImportError": "name the package in requirements.txt, then: fx workspace lock",
    "AttributeError": "correct that line; if it asks the shard for what only your own class has: an invented one has "
    "get_dataset, shapes and schema",
    "MemoryError": "make the model or the batches smaller",
    "": "docs/frameworks.md says what a task gives back, and what a task runner has",
}


def _cure_of_failure(found: DryRunFinding) -> str:
    """Say what to do about what was raised: most often it is the form of the data."""
    line = "correct that line" if found.file else "correct it, or the settings and kwargs that the plan gives it"
    usual = (
        f"{line}; 'tried' above says what samples and targets look like, and a model takes its sizes from "
        "context.sample_shape and context.classes"
    )
    return usual if found.failure is None else _CURES.get(found.failure.error, usual)


_Words = tuple[Callable[[DryRunFinding], str], str | Callable[[DryRunFinding], str]]
_WORDS: dict[FindingKind, _Words] = {
    FindingKind.MODULE_MISSING: (
        lambda one: f"the code imports '{one.name}', which is not here",
        "if it is a file of yours, put it into the workspace and import it as seen from there (src.NAME for "
        "src/NAME.py); if it is a package, install it here to try the plan, and name it in requirements.txt, from "
        "which 'fx workspace lock' makes the lock",
    ),
    FindingKind.NOT_LOADED: (
        lambda one: f"the code cannot be loaded: {_failed(one)}",
        "correct it, or the settings that the plan gives it",
    ),
    FindingKind.TASK_FAILED: (_failed, _cure_of_failure),
    FindingKind.NOT_OVER: (
        lambda one: (
            f"the code was not {'loaded' if one.phase is None else 'done'} after {amount(one.wanted, 's')}, with "
            "a few batches of data"
        ),
        "look for a loop that does not end, or for something it waits for; if it only takes long, give --limit SECONDS",
    ),
    FindingKind.PROCESS_ENDED: (
        _ended,
        "take out what ends the process (exit, a signal, a crash of a library); a task ends by returning, or raising",
    ),
    FindingKind.TENSORS_DIFFER: (
        lambda one: f"the update does not have the tensors of the model that it started from: {one.said}",
        "give the same names, dtypes and shapes in every round, whatever the site's data is like",
    ),
    FindingKind.NOT_FINITE: (
        lambda one: f"after training, {one.said}",
        "look at the loss: a division by 0, a logarithm of 0, a learning rate that is too high",
    ),
    FindingKind.NOT_TRAINED: (
        lambda _: "training has changed nothing: every tensor is as it was",
        "look whether the optimizer has the model's parameters, whether it makes a step, whether there was a batch, "
        "and whether get_tensors gives the trained ones",
    ),
    FindingKind.NO_SAMPLES: (
        lambda _: "the update stands for no samples, so it would count for nothing",
        "return the number of samples that were trained on in TaskResult.num_samples",
    ),
    FindingKind.UPDATE_REFUSED: (
        lambda one: f"the update would be refused: {one.said}",
        "correct the update, or the plan's validator section",
    ),
    FindingKind.NOT_COMBINED: (
        lambda one: f"the updates cannot be made into a model: {_said(one)}",
        "look at aggregation, server_optimizer and compression_pipeline in the plan",
    ),
    FindingKind.METRIC_MISSING: (
        lambda one: (
            f"the plan goes by the metric '{one.name}', which nothing reports; there are: "
            f"{', '.join(one.lines) or 'none'}"
        ),
        "report it, or name one of these in the plan: otherwise the rule never acts, and no version is the best",
    ),
    FindingKind.METRIC_NOT_FINITE: (
        lambda one: f"the metric '{one.name}' is {one.said}, so it counts for nothing",
        "look at how it is computed: a mean of nothing, a division by 0, a logarithm of 0",
    ),
    FindingKind.NOT_REPEATABLE: (
        lambda _: "the same training, done twice, gave two different updates",
        "draw every random number from the seed that begin is given, and keep nothing between two assignments; "
        "otherwise a run cannot be repeated, and a worker that is replaced goes on differently",
    ),
    FindingKind.INITIAL_NOT_REPEATABLE: (
        lambda _: "the initial model, made twice from one seed, is not the same",
        "draw every random number from the seed that initialise is given",
    ),
    FindingKind.NOBODY_TRAINS: (
        lambda _: "no site is given a task that trains",
        "look at the groups of the plan's assigner",
    ),
    FindingKind.SITE_ABSENT: (
        lambda _: "the plan asks for a site that is not there",
        "correct the name, leave it out, or wait until it is there ('fx envoy list')",
    ),
    FindingKind.TOO_FEW_SITES: (
        lambda one: f"{_compared(one)[0]} can take part, and the experiment begins with {_compared(one)[1]}",
        "lower admission.min_collaborators, or wait for more",
    ),
    FindingKind.SELECTS_FEWER: (
        lambda one: f"the selector asks for {_compared(one)[1]} in a round, and there are {_compared(one)[0]}",
        "each round has all that there are; ask for fewer if you mean a sample of them",
    ),
    FindingKind.QUORUM_UNREACHABLE: (
        lambda one: f"a round needs {_compared(one)[1]}, and the selector asks for {_compared(one)[0]} only",
        "lower participation.min_updates, or select more sites",
    ),
    FindingKind.SITE_REFUSES: (_refuses, _cure_of_refusal),
    FindingKind.SITE_UNREADABLE: (
        lambda one: f"what the site publishes of its data describes none that there can be: {one.said}",
        "ask the site's operator; nothing was tried for this site",
    ),
    FindingKind.SITE_BUSY: (
        lambda _: "the site works for as many experiments as it bears",
        "the experiment would wait; 'fx experiment list' shows what runs",
    ),
    FindingKind.NO_DEVICE: (
        lambda one: f"the site would refuse: {one.said}",
        "write auto, or what the site gives",
    ),
    FindingKind.SHAPES_DIFFER: (
        lambda one: f"the sites' data does not have the same shapes: {_lines(one)}",
        "one model cannot learn from both: name the sites that fit in admission.collaborators",
    ),
    FindingKind.FORMS_DIFFER: (
        lambda one: f"the sites' data is not of one form: {_lines(one)}",
        "all of them were tried; see that the model does not take its sizes from one site",
    ),
    FindingKind.MODEL_TOO_LARGE: (
        lambda one: (
            f"the site would refuse the model: its file has {_compared(one)[0]}, and the site takes {_compared(one)[1]}"
        ),
        "make the model smaller, or ask the site's operator to raise limits.model_gb",
    ),
    FindingKind.MEMORY_SHORT: (
        lambda one: f"a worker is expected to need {_compared(one)[0]}, and the site's machine has {_compared(one)[1]}",
        "make batches or the model smaller, or leave the site out",
    ),
    FindingKind.PACKAGES_NOT_INSTALLED: (
        lambda _: "the site does not install packages; what the lock names must be there already",
        "ask the site's operator, or do without these packages",
    ),
    FindingKind.PACKAGE_NOT_LOCKED: (
        lambda one: f"the code imports '{one.name}', which is here, but nothing brings it to a site",
        "name it in requirements.txt, then: fx workspace lock",
    ),
    FindingKind.BATCH_TOO_LARGE: (
        lambda one: f"a batch has {_compared(one)[1]}, and the smallest of these sites has {_compared(one)[0]}",
        "make batches smaller; a loader that drops what is left over would have nothing to train on",
    ),
    FindingKind.DEADLINE_SHORT: (
        lambda one: f"it is forecast to take {_compared(one)[0]}, and the plan gives {_compared(one)[1]}",
        "raise the deadline, or do less in a round (after deadline.train_s, what was trained by then counts); "
        "the forecast is for a machine like this one",
    ),
    FindingKind.LOCAL_FILE: (
        lambda one: f"the code names a file of this machine: {one.name}",
        "no site has it: put it into the workspace (include: in the plan), or let the shard give what is in it",
    ),
    FindingKind.STAYS_AT_HOME: (
        lambda one: f"the code names '{one.name}', which stays at home",
        "if the code needs it, name it under include: in the plan",
    ),
    FindingKind.NOT_CONFINED: (
        lambda _: "this kernel cannot close the files off: whether the code reads some of this machine was not tried",
        "try it where 'fx doctor' says that workers are confined",
    ),
    FindingKind.NOT_ON_GPU: (
        lambda _: "the plan is for GPUs, and it was tried on a processor: times and memory there are not known",
        "see that the code moves model and batches to context.device; try it once with 'fx simulate' where a GPU is",
    ),
    FindingKind.NOT_ALL_TRIED: (
        lambda one: f"there are {_compared(one)[1]} of sites, and {_compared(one)[0]} were tried",
        "for the others, name fewer sites with --shard, or in admission.collaborators",
    ),
}
