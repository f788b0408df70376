from collections.abc import Callable
from pathlib import Path

import pytest

from openfl_like.errors import PlanError
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import templates


def problems_of(path: Path, *overrides: str) -> list[str]:
    """The problems without the directory of the file."""
    with pytest.raises(PlanError) as caught:
        load_plan(path, overrides)
    return [problem.replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_plan_is_read_with_its_defaults(written: Callable[..., Path], plan_text: str, plan: Plan) -> None:
    found = load_plan(written(plan=plan_text))
    assert found == plan
    assert found.aggregator.settings.rounds_to_train == 10
    assert found.task_runner.settings == {"lr": 0.001}
    assert [component.template for component in found.validator] == ["schema", "finite"]
    assert found.tasks["check"].apply == "local"
    assert found.tasks["train"].arguments == {"epochs": 1}


def test_a_missing_plan_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no such file") as caught:
        load_plan(tmp_path / "plan.yaml")
    assert str(caught.value).startswith(f"{tmp_path}/plan.yaml: ")


def test_schema_and_rules_are_reported_together(written: Callable[..., Path], plan_text: str) -> None:
    text = plan_text + (
        "selector: {template: randm}\n"
        "deadline: {train_s: 0}\n"
        "stop: {any: [{rounds: 3, patience: 2}]}\n"
        "model_store: {kep: {last: 3}}\n"
    )
    assert problems_of(written(plan=text)) == [
        "plan.yaml:8: selector.template: there is no selector named 'randm'; did you mean 'random'?",
        "plan.yaml:9: deadline.train_s: must be more than 0, not 0",
        "plan.yaml:10: stop.any[0]: must have exactly one of rounds, metric, loss_max, patience, wall_s, "
        "traffic_bytes, "
        "not rounds, patience",
        "plan.yaml:11: model_store.kep: unknown key; did you mean 'keep'?",
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("tasks: {}", "tasks: must have at least 1 entry, not 0"),
        ("tasks: {Train: {function: train}}", "tasks.Train: 'Train' is not a valid name; use 1 to 63 of"),
        ("tasks: {train: {functoin: train}}", "tasks.train.functoin: unknown key; did you mean 'function'?"),
        (
            "tasks: {train: {function: __init__}}",
            "'__init__' is not a function that a task can have; name a public method",
        ),
        ("tasks: {train: {function: a.b}}", "'a.b' is not a function that a task can have"),
        (
            "tasks: {check: {function: validate, kwargs: {apply: globl}}}",
            "tasks.check.kwargs.apply: must be global, local, personal or file:PATH, not 'globl'; "
            "did you mean 'global'?",
        ),
        (
            "tasks: {check: {function: validate_task, kwargs: {apply: global}}}",
            "tasks.check: it is not said whether 'validate_task' trains; write trains: true if it changes the model",
        ),
        (
            "tasks: {train: {function: train, kwargs: {apply: global}}}",
            "tasks.train.kwargs.apply: a task that trains goes on with the model as the tasks before it left it",
        ),
        (
            "tasks: {tune: {function: tune, trains: true, kwargs: {apply: local}}}",
            "tasks.tune.kwargs.apply: a task that trains goes on",
        ),
        ("tasks: {train: {function: train, trains: false}}", "tasks.train.trains: train trains; leave it out"),
        ("tasks: {check: {function: validate, trains: true}}", "tasks.check.trains: validate does not train"),
        (
            "model_store: {best: {metric: rmse}}",
            "model_store.best: it is not said whether more or less of 'rmse' is better; write mode: max or mode: min",
        ),
        ("name: ../x", "name: '../x' is not a valid name"),
        ("seed: -1", "seed: must be at least 0, not -1"),
        (f"seed: {2**63}", "seed: must be less than"),
        ("aggregation: {template: fedavgg}", "there is no aggregation named 'fedavgg'; did you mean 'fedavg'?"),
        ("aggregation: {template: zzz}", "there is no aggregation named 'zzz'; known: "),
        ("aggregation: {template: 'a b:c'}", "'a b:c' names nothing in the workspace"),
        ("aggregation: {template: fedavg, rules: [{match: a, rule: 'b:'}]}", "'b:' names nothing in the workspace"),
        ("compression_pipeline: {template: 'a:B'}", "'a:B' is not a registered name"),
        ("algorithm: {template: scaffold, server: 'a:B'}", "built in, and so is its half at the Aggregator"),
        ("algorithm: {template: 'a:B', server: 'b'}", "algorithm.server: there is no server_algorithm named 'b'"),
        ("algorithm: {template: none, server: 'a:B'}", "there is no algorithm that they could be for"),
        ("aggregation: {template: fedavg, settings: {x: 1}}", "aggregation.settings.x: unknown key; known: weighted"),
        (
            "selector: {template: random, settings: {fraction: 2}}",
            "selector.settings.fraction: must be at most 1, not 2",
        ),
        ("selector: {template: random}", "selector.settings: give exactly one of fraction and count"),
        ("validator: [{template: finite}, {template: finit}]", "validator[1].template: there is no validator named"),
        ("task_runner: {template: Runner}", "task_runner.template: 'Runner' names nothing in the workspace"),
        ("data_loader: {template: src.digits}", "data_loader.template: 'src.digits' names nothing in the workspace"),
        ("admission: {collaborators: [a, b, a]}", "admission.collaborators[2]: 'a' is there twice"),
        (
            "admission: {collaborators: [a, b], min_collaborators: 3}",
            "admission.min_collaborators: 3 must be there, but only 2 are asked",
        ),
        (
            "admission: {min_collaborators: 2}\nparticipation: {policy: quorum, min_updates: 3}",
            "participation.min_updates: a round needs 3 updates, but may start with 2 collaborators",
        ),
        (
            "admission: {collaborators: [a, b]}\nparticipation: {policy: quorum, min_updates: 3}",
            "participation.min_updates: a round needs 3 updates, but may start with 2 collaborators",
        ),
        (
            "participation: {min_fraction: 0.5}",
            "participation.min_fraction: the policy is exact, which needs everybody who was selected; "
            "write participation.policy: quorum, or leave this out",
        ),
        ("participation: {policy: exact, min_updates: 2}", "participation.min_updates: the policy is exact"),
        ("participation: {policy: quorum}", "participation.policy: a quorum of how many?; give min_fraction or"),
        (
            "participation: {policy: quorum, min_fraction: 1}",
            "participation.min_fraction: a quorum of everybody is not a quorum",
        ),
        (
            "admission: {collaborators: [a, b], min_collaborators: 1}",
            "admission.min_collaborators: 1 of 2 sites may begin, but participation.policy is exact",
        ),
        (
            "deadline: {min_fraction: 0.5}",
            "deadline.min_fraction: there is no such key any more; it is participation.min_fraction",
        ),
        ("deadline: {on_timeout: fail}", "deadline.on_timeout: there is no such key any more; participation.policy"),
        (
            "deadline: {round_s: 30, train_s: 40}",
            "deadline.train_s: training may take 40 s, but the round ends after 30 s (deadline.round_s); at most 30",
        ),
        ("deadline: {round_s: 30, rejoin_s: 40}", "deadline.rejoin_s: coming back may take 40 s, but the round"),
        (
            "stop: {any: [{}]}",
            "stop.any[0]: must have exactly one of rounds, metric, loss_max, patience, wall_s, traffic_bytes, not none",
        ),
        ("stop: {all: [{metric: accuracy}]}", "stop.all[0]: metric needs exactly one of min and max"),
        ("stop: {all: [{metric: a, min: 1, max: 2}]}", "stop.all[0]: metric needs exactly one of min and max"),
        ("stop: {any: [{rounds: 3, min: 1}]}", "stop.any[0]: min and max go with metric only"),
        (
            "assigner: {template: static, settings: {groups: [{name: g, collaborators: [a], tasks: [trin]}]}}",
            "assigner.settings.groups[0].tasks[0]: there is no task 'trin'; did you mean 'train'?",
        ),
        (
            "compression_pipeline: {template: top-k, settings: {fraction: 0.1}}",
            "compression_pipeline.template: there is no compression named 'top-k'; did you mean 'top_k'?",
        ),
        ("compression_pipeline: {template: top_k}", "compression_pipeline.settings.fraction: this key is required"),
        (
            "compression_pipeline: {template: random_k, settings: {fraction: 1.5}}",
            "compression_pipeline.settings.fraction: must be at most 1, not 1.5",
        ),
        (
            "compression_pipeline: {template: none, lossless: {template: zst}}",
            "compression_pipeline.lossless.template: there is no lossless named 'zst'; did you mean 'zstd'?",
        ),
        (
            "compression_pipeline: {lossless: {template: zstd, settings: {level: 20}}}",
            "compression_pipeline.lossless.settings.level: must be at most 19, not 20",
        ),
        (
            "compression_pipeline: {template: quantise}\ncollaborator: {settings: {delta_updates: false}}",
            "collaborator.settings.delta_updates: quantise compresses differences to the global model only",
        ),
        ("network: {settings: {port: 70000}}", "network.settings.port: must be at most 65535, not 70000"),
        (
            "collaborator: {settings: {opt_treatment: REST}}",
            "must be one of RESET, CONTINUE_LOCAL, CONTINUE_GLOBAL, not 'REST'",
        ),
        (
            "collaborator: {settings: {opt_treatment: CONTINUE_GLOBAL}}\ncompression_pipeline: {template: float16}",
            "collaborator.settings.opt_treatment: the optimizer's state would be compressed with loss",
        ),
        (
            "aggregator: {settings: {init_state_path: ../other/model.safetensors}}",
            "aggregator.settings.init_state_path: '../other/model.safetensors' is not a file of a workspace",
        ),
        ("aggregator: {settings: {init_state_path: /etc/passwd}}", "'/etc/passwd' is not a file of a workspace"),
        ("algorithm: {template: fedprx}", "algorithm.template: 'fedprx' names nothing in the workspace; did you mean"),
        ("data_loader: {template: trch}", "'trch' names nothing in the workspace; did you mean 'torch'?"),
        ("data_loader: {template: keras}", "write module:attr, for example src.digits:DigitsLoader, or one of numpy"),
        ("algorithm: {template: none, settings: {mu: 1}}", "there is no algorithm that they could be for"),
        ("algorithm: {template: fedprox}", "algorithm.settings.mu: this key is required"),
        ("algorithm: {template: fedprox, settings: {mu: -1}}", "algorithm.settings.mu: "),
        ("algorithm: {template: fedprox, settings: {mu: 1, nu: 2}}", "algorithm.settings.nu: "),
        ("algorithm: {template: feddyn}", "algorithm.settings.alpha: this key is required"),
        (
            "algorithm: {template: fednova}\naggregation: {template: median}",
            "'fednova' is a weighted average of updates",
        ),
        (
            "algorithm: {template: feddyn, settings: {alpha: 1}}\nserver_optimizer: {template: fedavgm}",
            "'feddyn' steps the global model itself; write none",
        ),
        (
            "admission: {collaborators: [ada, bern]}\nselector: {template: fixed, settings: {rounds: [[ada], [bem]]}}",
            "selector.settings.rounds[1][0]: the plan asks for no collaborator 'bem'; known: ada, bern",
        ),
        (
            "admission: {collaborators: [ada, bern]}\naggregation: {template: fltrust, settings: {trusted: chur}}",
            "aggregation.settings.trusted: the plan asks for no collaborator 'chur'",
        ),
        ("data_loader: {template: keras}", "data_loader.template: 'keras' names nothing in the workspace"),
    ],
)
def test_each_rule_is_checked(written: Callable[..., Path], plan_text: str, lines: str, problem: str) -> None:
    replaced = {line.partition(":")[0] for line in lines.splitlines()}
    kept, keep = [], True
    for line in plan_text.splitlines():
        keep = line.partition(":")[0] not in replaced if not line.startswith(" ") else keep
        kept += [line] if keep else []
    found = problems_of(written(plan="\n".join([*kept, lines])))
    assert any(problem in line for line in found), found


@pytest.mark.parametrize("section", ["aggregation", "selector", "assigner", "compression_pipeline"])
def test_a_plan_cannot_have_the_aggregator_run_anything(
    written: Callable[..., Path], plan_text: str, section: str, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    part = f"{{template: subprocess:Popen, settings: {{args: [touch, {canary}]}}}}"
    path = written(plan=plan_text + f"{section}: {part}")
    if section == "compression_pipeline":
        with pytest.raises(PlanError, match="the Aggregator runs no code of a workspace"):
            load_plan(path)
    else:  # whoever has the workspace may run it; a Director does not
        with pytest.raises(PlanError, match="this Director runs none"):
            check_plan(load_plan(path))
    assert not canary.exists()


def test_a_plan_that_came_as_a_value_is_checked_too(plan: Plan) -> None:
    check_plan(plan)
    values = plan.model_dump() | {"stop": {"any": [{}]}, "aggregation": {"template": "fedav"}}
    with pytest.raises(PlanError, match="bundle") as caught:
        check_plan(Plan.model_validate(values), "bundle")
    assert len(caught.value.problems) == 2


# ---- overrides ----------------------------------------------------------------------------------------------------


def test_overrides_change_create_and_reach_into_lists(written: Callable[..., Path], plan_text: str) -> None:
    path = written(plan=plan_text + "stop: {any: [{patience: 3}, {rounds: 9}]}")
    found = load_plan(
        path,
        [
            "aggregator.settings.rounds_to_train=3",
            "deadline.train_s=1.5",
            "tasks.train.kwargs.epochs=5",
            "tasks.train.kwargs.fresh=yes please",
            "stop.any.1.rounds=4",
            "admission.collaborators=[one, two]",
            "name=other",
            "name=third",
        ],
    )
    assert found.aggregator.settings.rounds_to_train == 3
    assert found.deadline.train_s == 1.5
    assert found.tasks["train"].kwargs == {"epochs": 5, "fresh": "yes please"}
    assert found.stop.any[1].rounds == 4
    assert found.admission.collaborators == ("one", "two")
    assert found.name == "third"
    assert load_plan(path).name == "digits"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("deadlin.train_s=1", "deadlin: there is no such key; did you mean 'deadline'?"),
        ("deadline.trains=1", "deadline.trains: there is no such key; did you mean 'train_s'?"),
        ("tasks.trian.kwargs.epochs=1", "tasks.trian: there is no such key; did you mean 'train'?"),
        ("stop.any.0.rounds=1", "stop.any[0]: must have exactly one of"),
        ("stop.any.7.rounds=1", "stop.any.7: there is no such entry; the list has 1"),
        ("stop.any.x.rounds=1", "stop.any.x: there is no such entry; the list has 1"),
        ("seed=x", "seed: must be a whole number, not 'x'"),
        ("collaborator.settings.device=gpu", "collaborator.settings.device: must be auto, cpu, cuda, cuda:0, cuda:1 …"),
        ("collaborator.settings.device=[]", "collaborator.settings.device: must be auto, cpu, cuda"),
        ("collaborator.settings.device=[auto, cpu]", "or a list of such devices; an entry is not"),
        ("collaborator.settings.device=3", "or a list of such devices; it is not"),
        ("seed", "this is not a valid override; write section.key=value"),
        ("=1", "this is not a valid override"),
        ("a..b=1", "this is not a valid override"),
        ("seed=[1", "this is not YAML"),
        ("seed=!!int 1", "the tag"),
        ("seed=", "seed: is empty"),
    ],
)
def test_a_wrong_override_is_a_mistake_that_names_it(
    written: Callable[..., Path], plan_text: str, override: str, problem: str
) -> None:
    (found,) = problems_of(written(plan=plan_text + "stop: {any: [{patience: 3}]}"), override)
    assert problem in found
    assert override in found or problem.startswith("stop.any[0]")


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("cpu", "cpu"),
        ("auto", "auto"),
        ("cuda", "cuda"),
        ("cuda:12", "cuda:12"),
        ("[cuda:1, cuda, cpu]", ("cuda:1", "cuda", "cpu")),
    ],
)
def test_a_device_that_may_be_wished_for(
    written: Callable[..., Path], plan_text: str, text: str, device: str | tuple[str, ...]
) -> None:
    found = load_plan(written(plan=plan_text), [f"collaborator.settings.device={text}"])
    assert found.collaborator.settings.device == device
    assert thaw(freeze(found)) == found


# ---- defaults -----------------------------------------------------------------------------------------------------


def test_defaults_are_merged_below_the_plan(written: Callable[..., Path], plan_text: str) -> None:
    path = written(
        plan="defaults: base.yaml\n" + plan_text + "deadline: {defaults: slow.yaml, round_s: 5}\n",
        base="seed: 1\ndeadline: {rejoin_s: 4}\naggregator: {defaults: rounds.yaml}\ntask_runner: {settings: {k: 8}}",
        slow="round_s: 100\ntrain_s: 3\n",
        rounds="settings: {rounds_to_train: 77}",
    )
    found = load_plan(path)
    assert found.seed == 7
    assert found.task_runner.settings == {"k": 8, "lr": 0.001}
    assert (found.deadline.round_s, found.deadline.train_s, found.deadline.rejoin_s) == (5, 3, 4)
    assert found.aggregator.settings.rounds_to_train == 77


def test_mistakes_in_defaults_name_their_own_file(written: Callable[..., Path], plan_text: str) -> None:
    path = written(
        plan="defaults: base.yaml\n" + plan_text + "deadline: {defaults: slow.yaml}\n",
        base="\n\nsed: 1\nseed: [\n",
        slow="\ntrain: 50\ntrain_s: 1\ntrain_s: 2",
    )
    assert problems_of(path) == [
        "base.yaml:5: this is not YAML: did not find expected node content",
        "slow.yaml:2: deadline.train: unknown key; did you mean 'train_s'?",
        "slow.yaml:4: deadline.train_s: the key stands here again; it is already in line 3",
    ]


@pytest.mark.parametrize(
    ("named", "files", "problem"),
    [
        ("missing.yaml", {}, "missing.yaml: there is no such file"),
        ("[a, b]", {}, "defaults: must be the name of one file"),
        ("plan.yaml", {}, "more than 8 files name one another"),
        ("a.yaml", {"a": "defaults: b.yaml", "b": "defaults: a.yaml"}, "more than 8 files name one another"),
        ("a.yaml", {"a": "- x"}, "a.yaml: must be a mapping of keys to values"),
    ],
)
def test_defaults_that_cannot_be_used_are_a_mistake(
    written: Callable[..., Path], plan_text: str, named: str, files: dict[str, str], problem: str
) -> None:
    found = problems_of(written(plan=f"{plan_text}defaults: {named}\n", **files))
    assert len(found) == 1
    assert problem in found[0]


# ---- workspace ----------------------------------------------------------------------------------------------------


def test_the_workspace_is_beside_the_plan(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "code").mkdir()
    assert workspace_of(tmp_path / "plan.yaml", plan) == tmp_path
    assert workspace_of(tmp_path / "plan.yaml", plan.model_copy(update={"workspace": "code"})) == tmp_path / "code"


def test_the_workspace_may_be_an_installed_template(tmp_path: Path, plan: Plan) -> None:
    name = templates()[0]
    assert workspace_of(tmp_path / "plan.yaml", plan.model_copy(update={"workspace": name})).name == name


def test_a_missing_workspace_is_a_clear_error(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(PlanError, match="neither a directory beside the plan nor an installed template"):
        workspace_of(tmp_path / "plan.yaml", plan.model_copy(update={"workspace": "nowhere"}))


def test_faulty_required_keys_hide_no_mistakes_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "name: Digits!\n"
        "task_runner: {templat: x}\n"
        "aggregation: {template: fedavgg}\n"
        "selector: {template: random, settings: {fractio: 2}}\n"
        "seeed: 3\n"
    )
    found = "\n".join(problems_of(path))
    for part in ("'Digits!'", "templat: unknown", "'fedavgg'", "fractio: unknown", "seeed: unknown", "tasks: this key"):
        assert part in found


def test_a_bare_word_as_a_setting_is_a_mistake_wherever_it_stands(
    written: Callable[..., Path], plan_text: str, tmp_path: Path
) -> None:
    (tmp_path / "shared.yaml").write_text("settings: {shuffle: off}\n")
    text = plan_text.replace("DigitsLoader}", "DigitsLoader, defaults: shared.yaml}")
    assert problems_of(written(plan=text), "tasks.train.kwargs.quick=no", "task_runner.settings={deep: [on]}") == [
        "shared.yaml:1: data_loader.settings.shuffle: "
        "off is text here; write false, or 'off' in quotes if the text is meant",
        "override 'task_runner.settings={deep: [on]}': task_runner.settings.deep[0]: "
        "on is text here; write true, or 'on' in quotes if the text is meant",
        "override 'tasks.train.kwargs.quick=no': tasks.train.kwargs.quick: "
        "no is text here; write false, or 'no' in quotes if the text is meant",
    ]


def test_defaults_may_lie_at_home(
    written: Callable[..., Path], plan_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home := tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "shared.yaml").write_text("aggregator: {settings: {rounds_to_train: 77}}\n")
    assert load_plan(written(plan=plan_text + "defaults: ~/shared.yaml\n")).aggregator.settings.rounds_to_train == 77
    (problem,) = problems_of(written(plan=plan_text + "defaults: $DATA/shared.yaml\n"))
    assert "the variable $DATA is not replaced here" in problem


@pytest.mark.parametrize(
    ("tags", "problem"),
    [("[two words]", "tags[0]: 'two words' is not a valid name"), (str(["x"] * 17), "must have at most 16")],
)
def test_tags_are_few_and_plain(written: Callable[..., Path], plan_text: str, tags: str, problem: str) -> None:
    (found,) = problems_of(written(plan=plan_text + f"tags: {tags}\n"))
    assert problem in found
