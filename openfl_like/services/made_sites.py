"""The sites of a simulation that its plan has made from one data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl_like.data.deal import DealSettings
from openfl_like.data.distribution import Distribution, distribution_of
from openfl_like.data.part import DataSetSource, DealtSet, dealt_set
from openfl_like.data.parts import PartFile, PartFiles, PartShards
from openfl_like.data.shard_file import load_shard_config, placed_params
from openfl_like.errors import ShardError, UsageError
from openfl_like.plan.paths import written_path
from openfl_like.plan.schema import DataSetParts, Plan, ShardChoice, is_shard_file

_SECTION = "simulation.sites"


@dataclass(frozen=True, slots=True)
class MadeSites:
    """Sites that were made from one data set.

    Attributes:
        shards: Site name -> its data; arrays are made when a site asks for them.
        distribution: What each of them has.
        file: What their shard files say.
        numbers: Site name -> which part of the data set it is, from 0.
        title: What they were made of, and how, for people.
    """

    shards: PartShards
    distribution: Distribution
    file: PartFile
    numbers: Mapping[str, int]
    title: str

    def files(self, folder: Path) -> PartFiles:
        """Return site name -> its shard.yaml, each written into the folder when it is asked for."""
        return PartFiles(self.file, self.numbers, folder)

    @property
    def summary(self) -> str:
        """One line for people: how many, how large, how alike."""
        sizes, alike = self.distribution.sizes, self.distribution.iidness
        told = ", ".join(f"{count} {word}" for word, count in sizes.items())
        score = "" if alike is None else f"; iid-ness {alike:.2f}"
        return f"{len(self.numbers)} sites of {self.title}: samples {told}{score}"


def make_sites(plan: Plan, workspace: Path) -> MadeSites | None:
    """Make the sites that a plan's ``simulation.sites`` asks for; None if it does not.

    Args:
        plan: The plan.
        workspace: Where files and modules are looked for that the section names.

    Raises:
        ShardError: If the data set cannot be used, or not be dealt out like that.
        SettingsError: If the data set's file is missing or has a mistake.
        UsageError: If the plan asks for sites that are not made.
    """
    section = plan.simulation.sites
    if section is None:
        return None
    source, reads = _source(section, workspace)
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
        place = f"{_SECTION}, {error.place}" if error.place else _SECTION
        raise ShardError(error.message, place=place, cure=error.cure) from error
    numbers = _numbers(plan, dealt)
    distribution = distribution_of(dealt.loaded.data, dealt.deal)
    file = PartFile(source, settings.model_dump(mode="json"), reads)
    return MadeSites(PartShards(dealt, numbers), distribution, file, numbers, _title(section))


def _source(section: DataSetParts, workspace: Path) -> tuple[DataSetSource, tuple[Path, ...]]:
    """Return where the data comes from, and what else may be read for it."""
    choice = section.shard
    folder, reads = workspace.resolve(), tuple[Path, ...]()
    if is_shard_file(choice.template):
        path = (folder / written_path(choice.template)).resolve()
        config = load_shard_config(path)
        folder, reads = path.parent, config.reads
        choice = ShardChoice(template=config.template, params=config.params)
    else:
        choice = ShardChoice(template=choice.template, params=placed_params(choice.params, folder))
    if ":" not in choice.template and ":" not in section.partitioner.template:
        return DataSetSource(choice), reads
    return DataSetSource(choice, folder), (*reads, folder)  # for a confined worker, whose shard.yaml lies elsewhere


def _numbers(plan: Plan, dealt: DealtSet) -> dict[str, int]:
    """Return site name -> its part, of the sites that take part."""
    sites = dealt.settings.sites
    wanted = plan.admission.collaborators
    section = plan.simulation.sites
    own = section is not None and section.count is None
    width = len(str(sites))
    known = {wanted[site] if own else f"site-{site + 1:0{width}d}": site for site in dealt.deal.present.tolist()}
    absent = [name for name in wanted if name not in known]
    if absent:
        names = f"{next(iter(known))} to {list(known)[-1]}"
        raise UsageError(
            f"the plan asks for {', '.join(absent[:3])}, and the {len(known)} sites that are made are {names}",
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
    return {name: known[name] for name in sorted(wanted or known)}


def _title(section: DataSetParts) -> str:
    """What sites are made of, and how."""
    settings = ", ".join(
        f"{key} {value}" for key, value in section.partitioner.settings.items() if isinstance(value, int | float | str)
    )
    dealt = f"{section.partitioner.template}({settings})" if settings else section.partitioner.template
    noise = section.label_noise
    parts = f"{100 * noise.fraction:.3g} % of the labels wrong at {100 * noise.sites:.3g} % of the sites"
    return f"{section.shard.template} by {dealt}{f', {parts}' if noise.fraction else ''}"
