"""Short names of exchangeable parts, resolved when they are first asked for.

A plan or a settings file names a part by ``template``: either a short name from the table below, or a name that an
installed package registered under the entry-point group ``openfl_like.<kind>``. Kinds that a site's own file names,
or that only its worker loads, may be ``module:attr`` as well; the parts of a round may not, because the Aggregator
builds them on the Director's machine, and whoever may submit must not choose what runs there. Nothing is imported until
`resolve` is called, so listing names is free.
"""

import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import entry_points
from pathlib import Path

from openfl_like.errors import NotFoundError

BUILTIN: dict[str, dict[str, str]] = {
    "task_runner": {
        "keras": "openfl_like.frameworks.keras:KerasModel",
        "sklearn": "openfl_like.frameworks.sklearn:SklearnModel",
    },
    "data_loader": {
        "numpy": "openfl_like.frameworks.numpy:NumpyLoader",
        "torch": "openfl_like.frameworks.torch:TorchLoader",
    },
    "algorithm": {
        "fedprox": "openfl_like.frameworks.algorithms.fedprox:FedProx",
        "scaffold": "openfl_like.frameworks.algorithms.scaffold:Scaffold",
        "feddyn": "openfl_like.frameworks.algorithms.feddyn:FedDyn",
        "fednova": "openfl_like.frameworks.algorithms.fednova:FedNova",
        "per_fedavg": "openfl_like.frameworks.algorithms.per_fedavg:PerFedAvg",
        "mimelite": "openfl_like.frameworks.algorithms.mime:MimeLite",
        "mime": "openfl_like.frameworks.algorithms.mime:Mime",
        "fedcurv": "openfl_like.frameworks.algorithms.fedcurv:FedCurv",
        "ditto": "openfl_like.frameworks.algorithms.ditto:Ditto",
    },
    "metric": {
        "accuracy": "openfl_like.frameworks.metrics.classifiers:Accuracy",
        "top_k_accuracy": "openfl_like.frameworks.metrics.classifiers:TopKAccuracy",
        "f1_macro": "openfl_like.frameworks.metrics.classifiers:F1Macro",
        "auc": "openfl_like.frameworks.metrics.classifiers:Auc",
        "mse": "openfl_like.frameworks.metrics.regression:MeanSquaredError",
        "mae": "openfl_like.frameworks.metrics.regression:MeanAbsoluteError",
        "r2": "openfl_like.frameworks.metrics.regression:R2",
    },
    "server_algorithm": {
        "scaffold": "openfl_like.aggregation.algorithms:ScaffoldServer",
        "feddyn": "openfl_like.aggregation.algorithms:FedDynServer",
        "fednova": "openfl_like.aggregation.algorithms:FedNovaServer",
        "fedcurv": "openfl_like.aggregation.algorithms:FedCurvServer",
    },
    "model_format": {
        "keras": "openfl_like.frameworks.formats.keras:KerasArchive",
        "npz": "openfl_like.frameworks.formats.files:NpzFile",
        "pt": "openfl_like.frameworks.formats.torch:StateDictFile",
        "safetensors": "openfl_like.frameworks.formats.files:SafetensorsFile",
    },
    "selector": {
        "all": "openfl_like.federation.participation.selection:AllSelector",
        "random": "openfl_like.federation.participation.selection:RandomSelector",
        "poisson": "openfl_like.federation.participation.drawn:PoissonSelector",
        "fixed": "openfl_like.federation.participation.drawn:FixedSelector",
        "dynamic": "openfl_like.federation.participation.drawn:DynamicSampling",
        "power_of_choice": "openfl_like.federation.participation.informed:PowerOfChoice",
        "ucb": "openfl_like.federation.participation.informed:UpperConfidenceBound",
        "best_time": "openfl_like.federation.participation.informed:BestTime",
        "rotation": "openfl_like.federation.participation.informed:Rotation",
        "connection_order": "openfl_like.federation.participation.ranked:ConnectionOrder",
        "best_speed": "openfl_like.federation.participation.ranked:BestSpeed",
        "best_network": "openfl_like.federation.participation.ranked:BestNetwork",
        "best_expected_time": "openfl_like.federation.participation.ranked:BestExpectedTime",
        "time_rotation": "openfl_like.federation.participation.ranked:TimeRotation",
        "best_energy": "openfl_like.federation.participation.limited:BestEnergy",
        "limited_time": "openfl_like.federation.participation.limited:LimitedTime",
        "limited_energy": "openfl_like.federation.participation.limited:LimitedEnergy",
        "budgeted_fairness": "openfl_like.federation.participation.limited:BudgetedFairness",
        "capability": "openfl_like.federation.participation.limited:Capability",
        "cluster": "openfl_like.federation.participation.clusters:Cluster",
    },
    "work": {
        "none": "openfl_like.federation.participation.work:TasksAlone",
        "static": "openfl_like.federation.participation.work:StaticWork",
        "uniform": "openfl_like.federation.participation.work:UniformWork",
        "equal_time": "openfl_like.federation.participation.work:EqualTime",
        "best_round_time": "openfl_like.federation.participation.work:BestRoundTime",
    },
    "controller": {
        "schedule": "openfl_like.federation.control.controllers:Schedule",
        "end_if_diverged": "openfl_like.federation.control.controllers:EndIfDiverged",
        "skip_unreliable": "openfl_like.federation.control.controllers:SkipUnreliable",
        "fair_weights": "openfl_like.federation.control.controllers:FairWeights",
    },
    "assigner": {
        "all": "openfl_like.federation.participation.assignment:AllTasks",
        "random": "openfl_like.federation.participation.assignment:RandomGroups",
        "static": "openfl_like.federation.participation.assignment:StaticGroups",
    },
    "validator": {
        "cosine": "openfl_like.aggregation.validation.cosine:CosineLimit",
        "finite": "openfl_like.aggregation.validators:Finite",
        "norm": "openfl_like.aggregation.validation.norm:NormLimit",
        "schema": "openfl_like.aggregation.validators:SameSchema",
        "z_score": "openfl_like.aggregation.validation.z_score:ZScore",
    },
    "aggregation": {
        "fedavg": "openfl_like.aggregation.rules:WeightedAverage",
        "median": "openfl_like.aggregation.rules:Median",
        "trimmed_mean": "openfl_like.aggregation.rules:TrimmedMean",
        "geometric_median": "openfl_like.aggregation.geometric_median:GeometricMedian",
        "krum": "openfl_like.aggregation.krum:Krum",
        "multi_krum": "openfl_like.aggregation.krum:MultiKrum",
        "bulyan": "openfl_like.aggregation.krum:Bulyan",
        "norm_bounded_mean": "openfl_like.aggregation.clipping:NormBoundedMean",
        "centered_clipping": "openfl_like.aggregation.clipping:CenteredClipping",
        "fltrust": "openfl_like.aggregation.trust:FLTrust",
    },
    "server_optimizer": {
        "none": "openfl_like.aggregation.server_optimizers:NoServerOptimizer",
        "fedavgm": "openfl_like.aggregation.server_optimizers:FedAvgM",
        "fedadagrad": "openfl_like.aggregation.adaptive:FedAdagrad",
        "fedadam": "openfl_like.aggregation.adaptive:FedAdam",
        "fedyogi": "openfl_like.aggregation.adaptive:FedYogi",
    },
    "compression": {
        "none": "openfl_like.tensors.compression:Uncompressed",
        "float16": "openfl_like.tensors.compression:Float16",
        "bfloat16": "openfl_like.tensors.compression:BFloat16",
        "quantise": "openfl_like.tensors.compression:Quantise",
        "top_k": "openfl_like.tensors.compression:TopK",
        "random_k": "openfl_like.tensors.compression:RandomK",
    },
    "lossless": {
        "none": "openfl_like.tensors.lossless:AsTheyAre",
        "zstd": "openfl_like.tensors.lossless:Zstd",
    },
    "shard": {
        "heart_disease": "openfl_like.data.heart_disease:HeartDiseaseShard",
        "digits": "openfl_like.data.builtin:DigitsShard",
        "breast_cancer": "openfl_like.data.builtin:BreastCancerShard",
        "csv": "openfl_like.data.csv_file:CsvShard",
        "synthetic": "openfl_like.data.synthetic:SyntheticShard",
        "invented": "openfl_like.data.invented:InventedShard",
        "mnist": "openfl_like.data.files.mnist:MnistShard",
        "fashion_mnist": "openfl_like.data.files.mnist:FashionMnistShard",
        "cifar10": "openfl_like.data.files.cifar:Cifar10Shard",
        "cifar100": "openfl_like.data.files.cifar:Cifar100Shard",
        "femnist": "openfl_like.data.files.femnist:FemnistShard",
        "kdd_cup_99": "openfl_like.data.files.kdd_cup:KddCupShard",
        "part": "openfl_like.data.part:part_shard",
        "each": "openfl_like.data.each:each_shard",
    },
    "device_monitor": {
        "nvidia": "openfl_like.services.devices.nvidia_monitor:NvidiaMonitor",
        "psutil": "openfl_like.services.devices.psutil_monitor:PsutilMonitor",
    },
    "runtime": {
        "local": "openfl_like.runtimes.local:local_runtime",
        "batched": "openfl_like.runtimes.batched:batched_runtime",
        "process": "openfl_like.runtimes.process:process_runtime",
        "mpi": "openfl_like.runtimes.mpi:mpi_runtime",
        "ray": "openfl_like.runtimes.ray:ray_runtime",
        "leased": "openfl_like.runtimes.leased:leased_runtime",
    },
    "callback": {
        "save": "openfl_like.events.callbacks.save:Save",
        "timer": "openfl_like.events.callbacks.timer:Timer",
        "plot": "openfl_like.events.callbacks.plot:Plot",
        "selection_counts": "openfl_like.events.callbacks.selection_counts:SelectionCounts",
        "checkpoint": "openfl_like.events.callbacks.checkpoint:ModelCopies",
        "bandwidth": "openfl_like.events.callbacks.bandwidth:Bandwidth",
    },
    "generator": {
        "constant": "openfl_like.federation.devices.quantities:Constant",
        "uniform": "openfl_like.federation.devices.quantities:Uniform",
        "lognormal": "openfl_like.federation.devices.quantities:LogNormal",
        "pareto": "openfl_like.federation.devices.quantities:Pareto",
        "choice": "openfl_like.federation.devices.quantities:Choice",
        "sine": "openfl_like.federation.devices.quantities:Sine",
        "step": "openfl_like.federation.devices.quantities:StepValues",
        "trace": "openfl_like.federation.devices.quantities:Trace",
    },
    "availability": {
        "always": "openfl_like.federation.devices.availability:AlwaysThere",
        "bernoulli": "openfl_like.federation.devices.availability:BernoulliAvailability",
        "markov": "openfl_like.federation.devices.availability:MarkovAvailability",
        "trace": "openfl_like.federation.devices.quantities:Trace",
    },
    "partitioner": {
        "iid": "openfl_like.data.partition:Iid",
        "dirichlet": "openfl_like.data.partition:Dirichlet",
        "labels": "openfl_like.data.partition:LabelsPerSite",
        "shards": "openfl_like.data.label_partition:LabelShards",
        "percentage": "openfl_like.data.label_partition:Percentage",
        "unique": "openfl_like.data.label_partition:OneLabel",
        "non_iid": "openfl_like.data.label_partition:NonIid",
        "natural": "openfl_like.data.group_partition:Natural",
        "sizes": "openfl_like.data.size_partition:SizeSkew",
        "manual": "openfl_like.data.size_partition:Manual",
        "pipe": "openfl_like.data.size_partition:Pipe",
    },
}

BY_PATH = frozenset(
    {
        "shard",
        "partitioner",
        "device_monitor",
        "task_runner",
        "data_loader",
        "algorithm",
        "metric",
        "estimator",
        "model",
    }
)
"""Kinds that may be named by ``module:attr``: what a site's operator writes about the site's own data and machine, and
what nobody but the worker at a site loads."""
OF_A_ROUND = frozenset(
    {
        "selector",
        "assigner",
        "work",
        "controller",
        "validator",
        "aggregation",
        "server_optimizer",
        "server_algorithm",
        "callback",
    }
)
"""Kinds that a workspace may bring as ``module:attr`` where its code may run: whoever runs the round has brought it, or
the Director has a referee. `resolve` takes short names of them only; see `federation.parts`."""


_LISTED: ContextVar[dict[str, list[str]] | None] = ContextVar("listed", default=None)
"""Kind -> its names, while nothing is looked for anew."""


def names(kind: str) -> list[str]:
    """List every short name of a kind, built in or registered by an installed package, sorted."""
    listed = _LISTED.get()
    if listed is None:
        return _names(kind)
    if kind not in listed:
        listed[kind] = _names(kind)
    return list(listed[kind])


def _names(kind: str) -> list[str]:
    installed = (point.name for point in entry_points(group=f"openfl_like.{kind}"))
    return sorted({*BUILTIN.get(kind, {}), *installed})


@contextmanager
def listed_once() -> Iterator[None]:
    """Look through the installed packages once for each kind while the block is open: that takes milliseconds."""
    token = _LISTED.set({})
    try:
        yield
    finally:
        _LISTED.reset(token)


def resolve(kind: str, template: str) -> object:
    """Import the object that a ``template`` names.

    Args:
        kind: ``selector``, ``aggregation``, ``shard`` …
        template: A short name; for the kinds `BY_PATH` also ``module:attr``.

    Raises:
        NotFoundError: If there is no such name, module or attribute.
    """
    target = template if ":" in template and kind in BY_PATH else BUILTIN.get(kind, {}).get(template)
    if target is None:  # (what is installed is looked through in milliseconds)
        for point in entry_points(group=f"openfl_like.{kind}", name=template):
            target = point.value
    if target is None:
        near = difflib.get_close_matches(template, names(kind), n=1)
        path = "; or write module:attr" if kind in BY_PATH else f"; a package can register one (openfl_like.{kind})"
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names(kind))}{path}"
        raise NotFoundError(f"there is no {kind} named '{template}'", cure=hint)
    return _import(kind, target)


def import_part(kind: str, target: str) -> object:
    """Import what ``module:attr`` names, whatever kind it is of: whoever calls this may run that code here.

    Raises:
        NotFoundError: If there is no such module or attribute.
    """
    return _import(kind, target)


def _import(kind: str, target: str) -> object:
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        cure = f"install the package that has '{error.name}', or put the module into the workspace"
        message = f"the {kind} '{target}' needs the module '{error.name}', which is not here"
        raise NotFoundError(message, cure=cure) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise NotFoundError(f"the module '{module_name}' has no '{attribute}' (asked for as {kind})") from error


@contextmanager
def first_on_path(directories: Sequence[Path]) -> Iterator[None]:
    """Have modules looked for in these directories before any other."""
    added = [str(directory.resolve()) for directory in directories]
    sys.path[:0] = added
    try:
        yield
    finally:
        for directory in added:
            sys.path.remove(directory)
