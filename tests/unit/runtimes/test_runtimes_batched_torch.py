"""Many sites trained at once: it gives what each gives alone, or each works alone, and why is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.batched.obstacles import Obstacle
from openfl_like.frameworks.batched.performer import BatchPerformer
from openfl_like.frameworks.perform import Performer
from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.manifest import file_digest
from tests.unit.runtimes.batched_runs import LOOK, LOOK_LOCAL, TRAIN, WORKSPACE, Answers, Study, apart, shard

pytestmark = pytest.mark.torch
SIZES = (12, 1, 7, 20, 4, 9, 7, 3)


def sites(sizes: tuple[int, ...] = SIZES, classes: int = 5) -> dict[str, ArrayShard]:
    return {f"site-{number}": shard(number, size, classes=classes) for number, size in enumerate(sizes)}


def both(study: Study, *tasks: TaskCall, phase: Phase = Phase.TRAIN) -> tuple[Answers, float]:
    orders = study.orders(*tasks, phase=phase)
    batched = study.answers("batched", orders)
    return batched, apart(study.answers("local", orders), batched)


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "momentum", "adam", "adamw", "adagrad", "rmsprop", "radam", "nadam", "adadelta", "adamax", "asgd", "rprop"],
)
def test_epochs_of_batches_of_all_sizes_give_what_each_site_gives_alone(optimizer: str, tmp_path: Path) -> None:
    study = Study("Mlp", sites(), tmp_path, settings={"optimizer": optimizer})
    batched, far = both(study, TRAIN)
    assert far <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])
    assert {site: done.update.num_samples for site, done in batched.updates.items()} == {
        f"site-{number}": size for number, size in enumerate(SIZES)
    }


@pytest.mark.parametrize(("runner", "classes"), [("TwoClasses", 2), ("OneOutput", 2), ("Regression", 0), ("Mlp", 5)])
@pytest.mark.parametrize("sizes", [(8, 8, 8), SIZES])
def test_every_loss_and_metric_of_the_platform(
    runner: str, classes: int, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    study = Study(runner, sites(sizes, classes), tmp_path)
    batched, far = both(study, TRAIN, LOOK_LOCAL, LOOK)
    assert far <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(study.shards)])
    assert {frozenset(done.update.metrics) for done in batched.updates.values()} == {
        frozenset({"train", "look_local", "look"})
    }


@pytest.mark.parametrize("runner", ["Mlp", "TwoClasses", "Normalising", "Dropping"])
def test_an_evaluation_is_batched_too(runner: str, tmp_path: Path) -> None:
    batched, far = both(Study(runner, sites(classes=2), tmp_path), LOOK, phase=Phase.EVALUATE)
    assert far <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])
    assert all(done.update.digest == "" and done.content is None for done in batched.updates.values())


@pytest.mark.parametrize(
    ("runner", "classes", "named"), [("Mlp", 5, ["f1_macro", "top_k_accuracy"]), ("Regression", 0, ["mae", "r2"])]
)
def test_the_metrics_that_tasks_name_are_measured_of_each_site(
    runner: str, classes: int, named: list[str], tmp_path: Path
) -> None:
    metrics = [{"template": name, "settings": {"k": 2} if name == "top_k_accuracy" else {}} for name in named]
    tasks = {
        "train": {"function": "train", "metrics": metrics},
        "look": {"function": "validate", "metrics": metrics[:1]},
    }
    study = Study(runner, sites(classes=classes), tmp_path, tasks=tasks)
    batched, far = both(study, TRAIN, LOOK)
    assert far <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])
    several = [done.update.metrics for site, done in batched.updates.items() if site != "site-1"]
    assert {frozenset(found["train"]) for found in several} == {frozenset({"loss", *named})}
    assert {frozenset(found["look"]) for found in several} == {frozenset({"loss", named[0]})}


def test_the_digest_of_an_update_is_that_of_its_bytes(tmp_path: Path) -> None:
    batched, _ = both(Study("Mlp", sites(), tmp_path), TRAIN)
    for number, done in enumerate(batched.updates.values()):
        assert done.content is not None
        path = tmp_path / f"{number}.safetensors"
        done.content.write(path)
        assert file_digest(path) == done.update.digest


def test_an_algorithm_that_pulls_towards_the_global_model_is_batched(tmp_path: Path) -> None:
    algorithm = {"template": "fedprox", "settings": {"mu": 0.5}}
    study = Study("Mlp", sites(), tmp_path, algorithm=algorithm, settings={"optimizer": "momentum"})
    batched, far = both(study, TRAIN)
    assert far <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])
    plain = Study("Mlp", sites(), tmp_path / "plain", settings={"optimizer": "momentum"})
    assert apart(batched, plain.answers("local", plain.orders(TRAIN))) > 1e-3


def test_a_pure_loss_of_its_own_is_batched_when_it_is_declared(tmp_path: Path) -> None:
    batched, far = both(Study("PureLoss", sites(), tmp_path), TRAIN, LOOK_LOCAL)
    assert far <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])


@pytest.mark.parametrize("loader", ["src.models:Reversed", "src.models:Flipped"])
def test_a_loader_of_the_workspace_gives_the_batches_itself(loader: str, tmp_path: Path) -> None:
    batched, far = both(Study("Mlp", sites(), tmp_path, data_loader={"template": loader}), TRAIN, LOOK_LOCAL)
    assert far <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])


def test_the_last_smaller_batch_may_be_left_out(tmp_path: Path) -> None:
    loader = {"template": "torch", "settings": {"batch_size": 3, "drop_last": True}}
    batched, far = both(Study("Mlp", sites((4, 6, 8, 11)), tmp_path, data_loader=loader), TRAIN)
    assert far <= 1e-5
    assert batched.posts == [4]


@pytest.mark.parametrize(
    ("runner", "obstacle", "words"),
    [
        ("Dropping", Obstacle.MODEL, "'1' is Dropout, which draws at random (p=0.5)"),
        ("Normalising", Obstacle.MODEL, "'1' is BatchNorm1d, which mixes the samples of a batch"),
        ("Tied", Obstacle.MODEL, "two layers share a parameter"),
        ("OwnLoss", Obstacle.LOSS, "OwnLoss has a loss of its own that is not declared pure"),
        ("OwnTraining", Obstacle.RUNNER, "OwnTraining has a 'train' of its own"),
        ("Peeping", Obstacle.DATA, "'num_train' of its data loader"),
        ("Weighing", Obstacle.DATA, "'num_train' of its data loader"),
        ("Noisy", Obstacle.MODEL, "or on chance"),
        ("Branching", Obstacle.RAISED, "item()"),
        ("Mixing", Obstacle.MODEL, "depends on the others of its batch"),
        ("FalselyPure", Obstacle.LOSS, "is not the mean of the losses"),
        ("Clipping", Obstacle.DIFFERS, "alone, site 'site-"),
    ],
)
def test_what_cannot_be_batched_is_done_as_local_does_it_and_why_is_said_once(
    runner: str, obstacle: Obstacle, words: str, tmp_path: Path
) -> None:
    batched, far = both(Study(runner, sites((12, 2, 7, 20, 4, 10)), tmp_path), TRAIN)
    assert far == 0.0
    assert [reason.obstacle for reason in batched.reasons] == [obstacle]
    assert words in str(batched.reasons[0])
    assert not batched.failures


@pytest.mark.parametrize(
    ("parts", "obstacle"),
    [
        ({"compression_pipeline": {"template": "float16"}}, Obstacle.COMPRESSION),
        (
            {"settings": {"optimizer": "momentum"}, "collaborator": {"settings": {"opt_treatment": "CONTINUE_LOCAL"}}},
            Obstacle.OPT_TREATMENT,
        ),
        ({"algorithm": {"template": "src.models:Nudge", "settings": {"mu": 0.1}}}, Obstacle.ALGORITHM),
        ({"settings": {"optimizer": "adafactor"}}, Obstacle.OPTIMIZER),
        ({"task_runner": {"template": "src.lines:Line"}, "data_loader": {"template": "numpy"}}, Obstacle.FRAMEWORK),
    ],
)
def test_so_is_a_plan_that_asks_for_what_is_each_sites_own(
    parts: dict[str, object], obstacle: Obstacle, tmp_path: Path
) -> None:
    classes = 0 if obstacle is Obstacle.FRAMEWORK else 5
    batched, far = both(Study("Mlp", sites(classes=classes), tmp_path, **parts), replace(TRAIN, arguments={}))
    assert far == 0.0
    assert [reason.obstacle for reason in batched.reasons] == [obstacle]
    assert not batched.failures


@pytest.mark.parametrize(
    "tasks",
    [
        (TRAIN, replace(TRAIN, name="again")),
        (replace(TRAIN, arguments={"epochs": 0}),),
        (TRAIN, TaskCall("count", "count")),
        (TRAIN, TaskCall("other", "validate", apply="file:other.safetensors")),
    ],
)
def test_tasks_of_another_kind_are_each_sites_own(tasks: tuple[TaskCall, ...], tmp_path: Path) -> None:
    batched, far = both(Study("Mlp", sites((4, 6)), tmp_path), *tasks)
    assert far == 0.0
    assert [reason.obstacle for reason in batched.reasons] == [Obstacle.TASKS]


def test_a_site_that_is_at_fault_fails_for_itself(tmp_path: Path) -> None:
    shards = sites()
    wrong = shard(2, 7)
    wrong.get_dataset("train").targets[3] = 5  # the model tells 5 classes apart
    broken = shard(4, 7)
    broken.get_dataset("train").samples[:] = 99.0
    shards |= {"site-2": wrong, "site-4": broken, "site-6": shard(6, 0)}
    study = Study("Mlp", shards, tmp_path, data_loader={"template": "src.models:Reversed"})
    batched, far = both(study, TRAIN)
    assert far <= 1e-5
    assert set(batched.failures) == {"site-2", "site-4"}
    assert "out of range" in batched.failures["site-4"].failure.message
    assert batched.reasons == []
    assert max(batched.posts) == len(SIZES) - 3


def test_numbers_that_are_not_finite_are_one_sites_own(tmp_path: Path) -> None:
    shards = sites()
    shards["site-3"].get_dataset("train").samples[:] = np.inf
    batched, far = both(Study("Mlp", shards, tmp_path), TRAIN)
    assert far <= 1e-5
    assert batched.posts == [len(SIZES)]
    finite = {
        site: bool(np.isfinite(done.content.tensor("2.weight")).all())
        for site, done in batched.updates.items()
        if done.content is not None
    }
    assert [site for site, whole in finite.items() if not whole] == ["site-3"]


def test_sites_with_data_of_other_shapes_do_not_share_a_batch(tmp_path: Path) -> None:
    def doubles(one: ArrayShard) -> ArrayShard:
        parts = {kind: one.get_dataset(kind) for kind in ("train", "validate")}
        wide = {kind: Dataset(part.samples, part.targets.astype(np.int32)) for kind, part in parts.items()}
        return ArrayShard(wide, "invented", (-99.0, 99.0), 5)

    shards = sites((4, 6, 5, 7, 4))
    shards = {site: doubles(one) if site in {"site-1", "site-3"} else one for site, one in shards.items()}
    batched, far = both(Study("Mlp", shards, tmp_path), TRAIN)
    assert far <= 1e-5
    assert not batched.failures
    assert max(batched.posts) == 3


def test_a_task_that_took_too_long_is_late(tmp_path: Path) -> None:
    study = Study("Mlp", sites((4, 6)), tmp_path)
    batched = study.answers("batched", study.orders(TRAIN, deadline_s=1e-9))
    assert [event.failure.kind for event in batched.failures.values()] == [FailureKind.DEADLINE] * 2


def test_large_updates_are_files_and_much_memory_is_several_batches(tmp_path: Path) -> None:
    study = Study("Wide", sites((4, 6, 5, 7)), tmp_path)
    batched, far = both(study, replace(TRAIN, arguments={}), LOOK_LOCAL)
    assert far <= 1e-5
    assert all(done.content is not None for done in batched.updates.values())
    assert batched.posts == [3, 1]


def test_the_data_of_sites_that_have_not_worked_for_long_is_let_go(tmp_path: Path) -> None:
    study, asked = Study("Mlp", sites(), tmp_path), list[str]()

    class Counted(dict[str, ArrayShard]):
        def __getitem__(self, name: str) -> ArrayShard:
            asked.append(name)
            return super().__getitem__(name)

    performer = BatchPerformer(study.plan, Counted(study.shards), WORKSPACE, "cpu", most_kept=5)
    assert performer.obstacle() is None
    initial = Performer(study.plan, study.shards["site-0"], WORKSPACE)
    initial.perform(Assignment(0, Phase.INITIALISE, "site-0", (), "", 9), None, tmp_path / "model")
    orders = study.orders(TRAIN)
    with TensorFile(tmp_path / "model") as model:
        for chosen in (orders[:4], orders[:4], orders[4:], orders[:4]):
            assert len(performer.perform(chosen, model).updates) == 4
            asked.append("")
    rounds = " ".join(asked).split(" ")
    ends = [place for place, word in enumerate(rounds) if not word]
    assert rounds[ends[0] + 1 : ends[1]] == []
    assert sorted(rounds[ends[1] + 1 : ends[2]]) == ["site-4", "site-5", "site-6", "site-7"]
    assert sorted(rounds[ends[2] + 1 : ends[3]]) == ["site-0", "site-1", "site-2"]
