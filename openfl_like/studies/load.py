"""From a study's file to its runs: every plan is made and checked before the first run, with every mistake at once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from openfl_like.errors import NotFoundError, PlanError, SettingsError
from openfl_like.plan.bundles.packing import packing_of
from openfl_like.plan.defaults import load_tree
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.document import Tree, parse_tree, read_text, validate
from openfl_like.plan.load import checked, workspace_of
from openfl_like.plan.mistakes import MOST_MISTAKES, DocumentPlace, KeyPath, Mistake, dotted, place_of, refuse
from openfl_like.plan.overrides import overridden
from openfl_like.plan.paths import written_path
from openfl_like.plan.schema import Plan, metric_mode
from openfl_like.plan.workspace import plan_path
from openfl_like.registry import listed_once
from openfl_like.services.simulation import shards_of
from openfl_like.studies.rules import mistakes_in_study, names_compared
from openfl_like.studies.schema import StudyFile
from openfl_like.studies.study import Configuration, HalvingRule, RunnableStudy, StudyDesign, StudyRun
from openfl_like.studies.sweep import Change, Point, points, swept

_SEEDS_END = 2**63


@dataclass(frozen=True, slots=True)
class _Planned:
    """A point of the sweep with its plan."""

    point: Point
    changes: tuple[Change, ...]
    plan: Plan


@dataclass(slots=True)
class _MistakeList:
    """What is wrong, each thing once."""

    mistakes: list[Mistake] = field(default_factory=list)
    _known: set[tuple[KeyPath, str]] = field(default_factory=set)

    def add(self, mistake: Mistake, problem: str) -> None:
        """Take a mistake, unless one of the same place and problem is known."""
        if (mistake.path, problem) not in self._known:
            self._known.add((mistake.path, problem))
            self.mistakes.append(mistake)


def load_study(path: Path) -> RunnableStudy:
    """Read a study and make the plans of all its runs.

    Raises:
        SettingsError: If the file is missing or has mistakes, or a plan that it makes has; then all of them are listed
            with file, line and YAML path.
        PlanError: If the plans have no workspace.
        BundleError: If a workspace could not be sent to sites.
        UsageError: If there is no shard for a site.
    """
    tree = parse_tree(read_text(path, SettingsError), str(path))
    file, mistakes = validate(tree, StudyFile)
    if file is None or mistakes:
        raise refuse(tree.source, mistakes, tree.places, SettingsError)
    mistakes = list(mistakes_in_study(file))
    if mistakes:
        raise refuse(tree.source, mistakes, tree.places, SettingsError)
    base, base_path = _base(path, file, tree)
    with listed_once():
        planned = _plans(file, base, tree)
    metric, mode = _metric(file, planned[0].plan, tree)
    rounds = min(_rounds(one.plan, tree) for one in planned)
    if file.early_stop is not None and file.early_stop.first >= rounds:
        told = Mistake(
            ("early_stop", "first"), f"no round comes after it: the plans have {rounds}", "write a smaller number"
        )
        raise refuse(tree.source, [told], tree.places, SettingsError)
    workspace, digest = _workspace(base_path, planned)
    return _study(file, planned, workspace, digest, (metric, mode))


def _rounds(plan: Plan, tree: Tree) -> int:
    rounds = plan.aggregator.settings.rounds
    if rounds is None:
        cure = "give the plans a number of rounds: set aggregator.settings.rounds_to_train"
        told = Mistake(("plan",), "plans without a limit of rounds cannot be compared in a study", cure)
        raise refuse(tree.source, [told], tree.places, SettingsError)
    return rounds


def _base(path: Path, file: StudyFile, tree: Tree) -> tuple[Tree, Path]:
    """Read the base plan: its tree, and where it is."""
    try:
        named = written_path(file.plan)
        as_path = named.suffix in {".yaml", ".yml"} or len(named.parts) > 1
        found = path.parent / named if as_path else plan_path(file.plan)
        return load_tree(found), found
    except NotFoundError as error:
        told = Mistake(("plan",), error.message, error.cure)
    except ValueError as error:
        told = Mistake(("plan",), str(error))
    except PlanError as error:
        told = Mistake(("plan",), f"{error.place}: {error.message}", error.cure)
    raise refuse(tree.source, [told], tree.places, SettingsError)


def _plans(file: StudyFile, base: Tree, tree: Tree) -> list[_Planned]:
    """Make the plan of each point.

    Raises:
        SettingsError: If any has a mistake.
    """
    common = tuple(Change(key, value, ("set", key)) for key, value in file.set.items())
    found, planned, levels = _MistakeList(), list[_Planned](), set[tuple[str, ...]]()
    for point in points(file.sweep, file.draws):
        names = tuple(level.name for level in point.levels.values())
        if names in levels:  # the same values were drawn again
            continue
        levels.add(names)
        changes = (*common, *point.changes)
        plan, mistakes = _plan(base, changes)
        for mistake in mistakes:
            _place(mistake, changes, tree, point, found)
        if plan is not None:
            planned.append(_Planned(point, changes, plan))
        if len(found.mistakes) >= MOST_MISTAKES:
            break
    if found.mistakes:
        raise refuse(tree.source, found.mistakes, tree.places, SettingsError)
    return planned


def _plan(base: Tree, changes: Sequence[Change]) -> tuple[Plan | None, list[Mistake]]:
    """Change the base plan; of each mistake the place is known."""
    changed = overridden(base, [_text(change) for change in changes], Plan)
    plan, mistakes = checked(changed)
    return plan, [
        Mistake(one.path, one.problem, one.cure, one.place or place_of(one.path, changed.places)) for one in mistakes
    ]


def _text(change: Change) -> str:
    return f"{change.key}={json.dumps(change.value)}"


def _place(mistake: Mistake, changes: Sequence[Change], tree: Tree, point: Point, found: _MistakeList) -> None:
    """Say of a mistake in a plan which line of the study makes it, or with which levels it comes."""
    sources = {f"override '{_text(change)}'": change for change in changes}
    place = mistake.place or DocumentPlace("")
    change = sources.get(place.source)
    told = f"{dotted(mistake.path)}: {mistake.problem}" if dotted(mistake.path) else mistake.problem
    if change is not None:
        where = place_of(change.path, tree.places)
        found.add(Mistake(change.path, f"in the plan, {told}", mistake.cure, where), told)
        return
    with_levels = ", ".join(f"{axis} {level.name}" for axis, level in point.levels.items())
    problem = f"{mistake.problem}, with {with_levels}" if with_levels else mistake.problem
    found.add(Mistake(mistake.path, problem, mistake.cure, place), mistake.problem)


def _metric(file: StudyFile, plan: Plan, tree: Tree) -> tuple[str, str]:
    best = plan.model_store.best
    metric = file.metric or best.metric
    mode = file.mode or metric_mode(metric) or (best.mode if metric == best.metric else None)
    if mode is None:
        told = Mistake(
            ("metric",), f"it is not said whether more or less of '{metric}' is better", "write mode: max or mode: min"
        )
        raise refuse(tree.source, [told], tree.places, SettingsError)
    return metric, mode


def _workspace(base: Path, planned: Sequence[_Planned]) -> tuple[Path, str]:
    """Find the code, try whether it could be sent to sites, and return its digest; code that no run changes once."""
    workspace = workspace_of(base, planned[0].plan)
    files: dict[str, str] = {}
    tried = set[tuple[object, ...]]()
    for one in planned:
        plan = one.plan
        parts = (
            plan.task_runner.template, plan.data_loader.template, plan.algorithm.template, plan.include, plan.exclude,
            tuple(task.function for task in plan.tasks.values()), plan.admission.collaborators,
            plan.simulation.sites is None,
        )  # fmt: skip
        if parts in tried:
            continue
        tried.add(parts)
        if plan.simulation.sites is None:
            shards_of(workspace, plan)
        for sent in packing_of(workspace, plan).files:
            files.setdefault(sent.path, str(blake3((workspace / sent.path).read_bytes()).hexdigest()))
    text = json.dumps(sorted(files.items()), separators=(",", ":"))
    return workspace, str(blake3(text.encode()).hexdigest())


def _study(
    file: StudyFile, planned: Sequence[_Planned], workspace: Path, digest: str, by: tuple[str, str]
) -> RunnableStudy:
    plans: dict[str, bytes] = {}
    runs = list[StudyRun]()
    for run, plan in _runs(file, planned):
        runs.append(run)
        plans[run.id] = freeze(plan)
    configurations = tuple(
        Configuration(
            number,
            {axis: level.name for axis, level in one.point.levels.items()},
            {change.key: change.value for change in one.changes},
            one.plan.aggregator.settings.rounds or 0,
        )
        for number, one in enumerate(planned, 1)
    )
    axes = swept(file.sweep, [one.point for one in planned])
    compare, baseline = names_compared(file, axes)
    rule = file.early_stop
    study = StudyDesign(
        name=file.name,
        base=file.plan,
        metric=by[0],
        mode="max" if by[1] == "max" else "min",
        seeds=file.seeds,
        repetitions=file.repetitions,
        axes=axes,
        configurations=configurations,
        runs=tuple(runs),
        halving=HalvingRule(rule.first, rule.factor) if rule is not None else None,
        compare=compare,
        baseline=baseline,
        workspace=digest,
    )
    return RunnableStudy(study, workspace, plans)


def _runs(file: StudyFile, planned: Sequence[_Planned]) -> Iterator[tuple[StudyRun, Plan]]:
    """Yield the runs, all repetitions of a configuration after each other."""
    wide, long = len(str(len(planned))), len(str(file.repetitions))
    for number, one in enumerate(planned, 1):
        for repetition in range(1, file.repetitions + 1):
            seed = one.plan.seed + (repetition - 1 if file.seeds == "sequence" else 0)
            plan = one.plan.model_copy(update={"seed": seed % _SEEDS_END})
            run = StudyRun(
                f"c{number:0{wide}d}-r{repetition:0{long}d}", number, repetition, plan.seed, plan_digest(plan)
            )
            yield run, plan
