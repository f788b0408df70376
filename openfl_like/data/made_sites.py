"""The sites of a simulation that its plan has made: parts of one data set, or each with a shard of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl_like.data.deal import DealSettings
from openfl_like.data.distribution import Distribution, distribution_of
from openfl_like.data.each import EachFile, EachShards
from openfl_like.data.part import DataSetSource, DealtSet, dealt_set
from openfl_like.data.parts import MadeFiles, MadeShards, PartFile, PartShards, PlaceOfName, ShardText
from openfl_like.data.shard_file import load_shard_config, placed_params
from openfl_like.errors import ShardError, UsageError
from openfl_like.numbered_names import NumberedNames
from openfl_like.plan.paths import written_path
from openfl_like.plan.schema import Plan
from openfl_like.plan.simulation import ShardChoice, SitesSection, is_shard_file

_SECTION = "simulation.sites"


@dataclass(frozen=True, slots=True)
class MadeSites:
    """Sites that were made.

    Attributes:
        shards: Site name -> its data; arrays are made when a site asks for them.
        counting: Counts what each of them has.
        file: What their shard files say.
        numbers: Site name -> its number, from 0.
        title: What they were made of, and how, for people.
        summary: One line for people: how many, how large, how alike.
        facts: The same as values, as far as it is known without making the data of all.
    """

    shards: MadeShards
    counting: Callable[[], Distribution]
    file: ShardText
    numbers: Mapping[str, int]
    title: str
    summary: str
    facts: Mapping[str, object]

    @property
    def distribution(self) -> Distribution:
        """What each site has.

        Raises:
            UsageError: If there are too many to be counted.
        """
        return self.counting()

    def files(self, folder: Path) -> MadeFiles:
        """Return site name -> its shard.yaml, each written into the folder when it is asked for."""
        return MadeFiles(self.file, self.numbers, folder)


def make_sites(plan: Plan, workspace: Path) -> MadeSites | None:
    """Make the sites that a plan's ``simulation.sites`` asks for; None if it does not.

    Args:
        plan: The plan.
        workspace: Where files and modules are looked for that the section names.

    Raises:
        ShardError: If the data cannot be used, or not be dealt out like that.
        SettingsError: If the data set's file is missing or has a mistake.
        UsageError: If the plan asks for sites that are not made.
    """
    section = plan.simulation.sites
    if section is None:
        return None
    if section.each is not None:
        return _each(plan, section, section.each, workspace)
    if section.shard is None:
        raise UsageError("it is not said what the sites are made of", place=_SECTION, cure="write shard, or each")
    return _parts(plan, section, section.shard, workspace)


def _parts(plan: Plan, section: SitesSection, choice: ShardChoice, workspace: Path) -> MadeSites:
    source, reads = source_of(choice, workspace, own_code=":" in section.partitioner.template)
    settings = DealSettings(
        sites=section.count or len(plan.admission.collaborators),
        partitioner=section.partitioner,
        seed=plan.seed if section.seed is None else section.seed,
        without_samples=section.without_samples,
        label_noise=section.label_noise,
    )
    try:
        dealt = dealt_set(source, settings)
    except ShardError as error:
        raise _placed(error, _SECTION) from error
    numbers = _numbers(plan, dealt)
    found = distribution_of(dealt.loaded.data, dealt.deal)
    title = _title(choice, section)
    sizes = ", ".join(f"{count} {word}" for word, count in found.sizes.items())
    score = "" if found.iidness is None else f"; iid-ness {found.iidness:.2f}"
    return MadeSites(
        shards=PartShards(dealt, numbers),
        counting=lambda: found,
        file=PartFile(source, settings.model_dump(mode="json"), reads),
        numbers=numbers,
        title=title,
        summary=f"{len(numbers)} sites of {title}: samples {sizes}{score}",
        facts=found.facts,
    )


def _each(plan: Plan, section: SitesSection, choice: ShardChoice, workspace: Path) -> MadeSites:
    """Make sites that each have a shard of their own; the first one is tried."""
    source, reads = source_of(choice, workspace)
    count, wanted = section.count or len(plan.admission.collaborators), plan.admission.collaborators
    names = NumberedNames("site-", len(str(count)), count)
    own = section.count is None
    numbers = {name: number for number, name in enumerate(wanted)} if own else PlaceOfName(names)
    _check_wanted(plan, numbers, names)
    shards = EachShards(source, {name: numbers[name] for name in sorted(wanted)} if wanted else numbers)
    try:
        shards[next(iter(shards))]
    except ShardError as error:
        raise _placed(error, f"{_SECTION}.each") from error
    title = _written(choice.template, choice.params)
    return MadeSites(
        shards=shards,
        counting=shards.distribution,
        file=EachFile(source, reads),
        numbers=numbers,
        title=title,
        summary=f"{len(shards):,} sites, each with {title} of its own",
        facts={},
    )


def _placed(error: ShardError, section: str) -> ShardError:
    return ShardError(error.message, place=f"{section}, {error.place}" if error.place else section, cure=error.cure)


def source_of(
    choice: ShardChoice, workspace: Path, *, own_code: bool = False
) -> tuple[DataSetSource, tuple[Path, ...]]:
    """Return where the data of made sites comes from, and what else may be read for it.

    Args:
        choice: The plan's ``shard`` or ``each``.
        workspace: Paths are relative to it.
        own_code: Whether modules of the workspace are needed in any case, as by a partitioner of its own.

    Raises:
        SettingsError: If it names a file that is missing or has a mistake.
    """
    folder, reads = workspace.resolve(), tuple[Path, ...]()
    if is_shard_file(choice.template):
        path = (folder / written_path(choice.template)).resolve()
        config = load_shard_config(path)
        folder, reads = path.parent, config.reads
        choice = ShardChoice(template=config.template, params=config.params)
    else:
        choice = ShardChoice(template=choice.template, params=placed_params(choice.params, folder))
    if ":" not in choice.template and not own_code:
        return DataSetSource(choice), reads
    return DataSetSource(choice, folder), (*reads, folder)  # for a confined worker, whose shard.yaml lies elsewhere


def _numbers(plan: Plan, dealt: DealtSet) -> Mapping[str, int]:
    """Return site name -> its part, of the sites that take part."""
    sites = dealt.settings.sites
    wanted = plan.admission.collaborators
    section = plan.simulation.sites
    own = section is not None and section.count is None
    names = NumberedNames("site-", len(str(sites)), sites)
    if not wanted and not own and len(dealt.deal.present) == sites:
        _check_wanted(plan, PlaceOfName(names), names)
        return PlaceOfName(names)
    known = {wanted[site] if own else names[site]: site for site in dealt.deal.present.tolist()}
    _check_wanted(plan, known, tuple(known))
    return {name: known[name] for name in sorted(wanted or known)}


def _check_wanted(plan: Plan, known: Mapping[str, int], names: NumberedNames | tuple[str, ...]) -> None:
    """Check that the sites that a plan asks for are made, and enough of them."""
    absent = [name for name in plan.admission.collaborators if name not in known]
    if absent:
        raise UsageError(
            f"the plan asks for {', '.join(absent[:3])}, and the {len(known)} sites that are made are "
            f"{names[0]} to {names[-1]}",
            place=_SECTION,
            cure="leave admission.collaborators empty, or leave count out, so that the sites are called as it says",
        )
    least = plan.admission.min_collaborators or 1
    if least > len(known):
        raise UsageError(
            f"the plan begins with {least} sites, and {len(known)} are made",
            place=_SECTION,
            cure="lower admission.min_collaborators, or make more",
        )


def _title(choice: ShardChoice, section: SitesSection) -> str:
    """What sites are made of, and how."""
    noise = section.label_noise
    parts = f"{100 * noise.fraction:.3g} % of the labels wrong at {100 * noise.sites:.3g} % of the sites"
    dealt = f"{choice.template} by {_written(section.partitioner.template, section.partitioner.settings)}"
    return f"{dealt}, {parts}" if noise.fraction else dealt


def _written(template: str, settings: Mapping[str, object]) -> str:
    simple = ", ".join(f"{key} {value}" for key, value in settings.items() if isinstance(value, int | float | str))
    return f"{template}({simple})" if simple else template
