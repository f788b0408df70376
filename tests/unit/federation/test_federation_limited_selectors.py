"""Who is chosen by order of arrival, speed, work done, clusters, and limits of time, energy and machines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from string import ascii_letters
from time import process_time
from typing import ClassVar

import pytest
from played import PlayedExperiment
from pydantic import ValidationError

from openfl_like.errors import PlanError
from openfl_like.federation.announcements import ExperimentEnded
from openfl_like.federation.components import check_needs
from openfl_like.federation.events import (
    CollaboratorJoined,
    CollaboratorLeft,
    Event,
    ExperimentStarted,
    SendAssignment,
    UpdateCommitted,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.participation.clusters import Cluster
from openfl_like.federation.participation.informed import BestTime, estimated, known_s
from openfl_like.federation.participation.limited import (
    BestEnergy,
    BudgetedFairness,
    Capability,
    LimitedEnergy,
    LimitedTime,
)
from openfl_like.federation.participation.ranked import (
    BestExpectedTime,
    BestNetwork,
    BestSpeed,
    ConnectionOrder,
    TimeRotation,
)
from openfl_like.federation.participation.selection import SelectionView, Selector
from openfl_like.federation.participation.training_history import PastTraining, TrainingHistory
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Update
from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.schema import Plan


def known(
    training_s: float,
    transfer_s: float = 0.0,
    *,
    samples: int = 10,
    update_bytes: int = 100,
    energy_j: float | None = None,
    times: int = 1,
    asked: int | None = None,
) -> TrainingHistory:
    seen = PastTraining(1, training_s + transfer_s, training_s, 0.5, samples, 0, update_bytes, energy_j)
    history = TrainingHistory(asked=times if asked is None else asked)
    for _ in range(times):
        history = history.seen(seen)
    return history


def chosen(selector: Selector, histories: Mapping[str, TrainingHistory], **changes: object) -> str:
    names = tuple(sorted(histories))
    view = replace(SelectionView(names, names, seed=3, round=2, histories=histories), **changes)  # type: ignore[arg-type]  # of any field
    return "".join(selector.select(replace(view, count=selector.wanted(view))))


def test_whoever_trains_on_most_samples_a_second_is_fastest_however_few_it_has() -> None:
    histories = {"a": known(1.0, samples=10), "b": known(10.0, samples=300), "c": known(2.0, samples=30)}
    assert chosen(BestSpeed(count=1), histories) == "b"
    assert chosen(BestSpeed(count=1), {**histories, "d": TrainingHistory()}) == "d", "nobody knows d"


def test_whoever_sends_most_bytes_a_second_has_the_best_network() -> None:
    histories = {"a": known(9.0, 1.0, update_bytes=100), "b": known(1.0, 2.0, update_bytes=600), "c": known(1.0, 3.0)}
    assert chosen(BestNetwork(count=1), histories) == "b"


def test_a_steady_site_comes_before_a_fast_one_that_seldom_answers() -> None:
    histories = {"a": known(4.0, times=3, asked=9), "b": known(6.0, times=9, asked=9)}
    assert chosen(BestExpectedTime(count=1), histories) == "b"
    assert chosen(BestExpectedTime(count=1), {**histories, "a": known(4.0, times=9, asked=9)}) == "a"


def test_a_slow_site_is_asked_half_as_often() -> None:
    takes = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 2.0}
    histories = dict.fromkeys(takes, TrainingHistory())
    turns: Counter[str] = Counter()
    for number in range(1, 61):
        for name in chosen(TimeRotation(count=1), histories, seed=number, round=number):
            turns[name] += 1
            seen = PastTraining(number, takes[name], takes[name], None, 1)
            histories[name] = histories[name].asked_again().seen(seen)
    assert turns == {"a": 20, "b": 20, "c": 10, "d": 10}


def test_a_round_of_slow_sites_has_fewer_of_them_and_all_have_their_turn() -> None:
    takes = {"a": 1.0, "b": 1.0, "c": 5.0, "d": 5.0}
    histories = {name: known(seconds) for name, seconds in takes.items()}
    selector = BudgetedFairness(count=3, round_s=6.0)
    turns: Counter[str] = Counter()
    for number in range(1, 41):
        cohort = chosen(selector, histories, seed=number, round=number)
        assert sum(takes[name] for name in cohort) <= 6.0
        turns.update(cohort)
        histories |= {name: replace(histories[name], asked=histories[name].asked + 1) for name in cohort}
    assert max(turns.values()) - min(turns.values()) <= 1
    assert chosen(BudgetedFairness(count=3, round_s=0.5), histories | {"a": known(1.0, asked=0)}) == "a"


def test_a_round_is_lengthened_as_little_as_possible_until_its_time_is_over() -> None:
    """Training side by side, transfers one after the other: a and b end at 3 and 5, c at 7, and d at 12."""
    histories = {"a": known(1.0, 2.0), "b": known(1.0, 2.0), "c": known(5.0, 2.0), "d": known(9.0, 3.0)}
    assert chosen(LimitedTime(count=4, within_s=9.0), histories) == "abc"
    assert chosen(LimitedTime(count=4, within_s=7.0), histories) == "abc"
    assert chosen(LimitedTime(count=4, within_s=6.9), histories) == "ab"
    assert chosen(LimitedTime(count=4, within_s=12.0), histories) == "abcd"
    assert chosen(LimitedTime(count=4, within_s=0.1), histories) in {"a", "b"}, "the quickest alone"
    assert set(chosen(LimitedTime(count=4, within_s=0.1), {**histories, "e": TrainingHistory()})) >= {"e"}


SILENT = TrainingHistory(asked=3, missed=3)


@pytest.mark.parametrize(
    "selector",
    [
        BestTime(count=2),
        BestTime(count=2, by="transfer", of="mean"),
        BestSpeed(count=2),
        BestNetwork(count=2),
        BestExpectedTime(count=2),
        BestEnergy(count=2),
        LimitedEnergy(count=4, round_j=3.0),
        LimitedTime(count=4, within_s=4.5),
    ],
)
def test_a_site_that_never_answers_does_not_come_first_for_ever(selector: Selector) -> None:
    histories = {name: known(took, took, energy_j=took) for name, took in (("b", 1.0), ("c", 2.0), ("d", 3.0))}
    assert chosen(selector, {**histories, "a": SILENT}) == "bc"
    assert "a" in chosen(selector, {**histories, "a": TrainingHistory()}), "nobody has asked it yet"
    lazy = dict.fromkeys("bcd", SILENT)
    assert chosen(selector, {**lazy, "a": TrainingHistory(asked=1, missed=1)})[0] == "a", "it was asked least"


def test_the_estimate_of_a_site_that_never_answers_is_the_median_over_its_chance() -> None:
    histories = {"a": known(1.0), "b": known(5.0), "c": known(7.0), "d": SILENT, "e": TrainingHistory()}
    view = SelectionView("abcde", "abcde", histories=histories)
    found = estimated("abcde", lambda each: known_s(each, "training"), view)
    assert found == {"a": 1.0, "b": 5.0, "c": 7.0, "d": 25.0, "e": 0.0}
    assert estimated("d", lambda each: known_s(each, "training"), view) == {"d": 5.0}, "nobody has told any time"


def test_a_missed_round_counts_as_a_turn() -> None:
    """a never answers, b every other time; c and d always do."""
    histories = dict.fromkeys("abcd", TrainingHistory())
    turns: Counter[str] = Counter()
    for number in range(1, 81):
        name = chosen(TimeRotation(count=1), histories, seed=number, round=number)
        turns[name] += 1
        histories[name] = histories[name].asked_again()
        if name in "cd" or (name == "b" and turns["b"] % 2):
            histories[name] = histories[name].seen(PastTraining(number, 2.0, 2.0, None, 1))
    assert max(turns.values()) - min(turns.values()) <= 2, turns


def as_the_paper_says(times: Mapping[str, tuple[float, float]], view: SelectionView, within_s: float) -> str:
    """Algorithm 3 of the paper, word by word: in each step all that are left are looked at."""
    left, planned_s, taken = sorted(times), 0.0, ""
    while left:
        until = {name: max(planned_s, times[name][0]) + times[name][1] for name in left}
        best = min(left, key=lambda name: (until[name], derive_seed(view.seed, name)))
        if until[best] > within_s and taken:
            break
        left.remove(best)
        taken, planned_s = taken + best, until[best]
        if planned_s > within_s:
            break
    return "".join(sorted(taken))


@pytest.mark.parametrize("within_s", [0.5, 9.0, 30.0, 1e9])
def test_heaps_choose_whom_the_algorithm_of_the_paper_chooses(within_s: float) -> None:
    random = Random(7)  # noqa: S311 (made-up times)
    for seed in range(30):
        times = {name: (float(random.randint(0, 20)), float(random.randint(0, 5))) for name in ascii_letters}
        histories = {name: known(*both) for name, both in times.items()}
        view = SelectionView(sorted(times), sorted(times), seed=seed, round=2, histories=histories)
        found = chosen(LimitedTime(fraction=1.0, within_s=within_s), histories, seed=seed)
        assert found == as_the_paper_says(times, view, within_s)


def test_thousands_of_candidates_are_planned_in_passing() -> None:
    """It is done on the thread that serves the sites: looking at all that are left in each step would take minutes."""
    names = tuple(f"site-{number:05}" for number in range(10_000))
    histories = {name: known(1.0 + number % 97, 0.001) for number, name in enumerate(names)}
    view = SelectionView(names, names, seed=3, round=2, histories=histories, count=len(names))
    before = process_time()
    assert len(LimitedTime(count=len(names), within_s=1e9).select(view)) == len(names)
    assert process_time() - before < 5


FITTING = [
    LimitedTime(count=6, within_s=9.0),
    LimitedTime(fraction=0.5, within_s=9.0),
    LimitedEnergy(count=6, round_j=9.0),
    BudgetedFairness(count=6, round_s=9.0),
]


@pytest.mark.parametrize("selector", FITTING)
def test_as_many_are_chosen_as_are_wanted_if_candidates_enough_are_here(selector: Selector) -> None:
    names = tuple(ascii_letters[:12])
    seconds = dict(zip(names, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5), strict=True))
    histories = {name: known(took, took / 2, energy_j=took) for name, took in seconds.items()}
    fewer = 0
    for seed in range(60):
        here = tuple(sorted(Random(seed).sample(names, 6 + seed % 7)))  # noqa: S311 (whoever is here)
        view = SelectionView(names, here, seed=seed, round=2, histories=histories)
        view = replace(view, count=selector.wanted(view))
        assert len(selector.select(view)) == view.count >= 1
        fewer += view.count < 6
    assert fewer, "the limit counts"
    nobody = SelectionView(names, (), seed=1, round=2, histories=histories)
    assert selector.wanted(nobody) >= 1, "then the round waits"


def test_who_would_be_chosen_is_missed_if_too_few_are_here() -> None:
    histories = {"a": known(1.0, 2.0), "b": known(1.0, 2.0), "c": known(9.0, 2.0)}
    selector = LimitedTime(count=3, within_s=5.0)
    assert selector.wanted(SelectionView("abc", "ab", seed=3, round=2, histories=histories)) == 2, "c would not fit"
    assert selector.wanted(SelectionView("abc", "bc", seed=3, round=2, histories=histories)) == 2, "a is missed"
    assert chosen(selector, histories, present=("b", "c")) == "b"


def test_energy_is_kept_to() -> None:
    histories = {name: known(1.0, energy_j=joules) for name, joules in zip("abcd", (1.0, 2.0, 4.0, 8.0), strict=True)}
    assert chosen(BestEnergy(count=2), histories) == "ab"
    assert chosen(LimitedEnergy(count=4, round_j=7.0), histories) == "abc"
    assert chosen(LimitedEnergy(count=4, round_j=0.5), histories) == "a"
    assert chosen(LimitedEnergy(count=4, site_j=4.0), histories) == "ab", "c has used 4 and would use 4 more"
    spent = {name: known(1.0, energy_j=3.0, times=2) for name in "ab"}
    assert chosen(LimitedEnergy(count=2, site_j=6.0), spent) == ""
    selector, some = LimitedEnergy(count=2, site_j=6.0), {**spent, "c": known(1.0, energy_j=3.0)}
    assert selector.wanted(SelectionView("abc", "ab", seed=3, round=2, histories=some)) == 1, "c has some left"


def test_only_machines_that_have_what_is_needed_are_drawn() -> None:
    histories = dict.fromkeys("abcd", TrainingHistory())
    facts = {
        "a": MachineFacts(gpu=True, memory_bytes=8),
        "b": MachineFacts(gpu=False, memory_bytes=64),
        "c": MachineFacts(),
    }
    assert chosen(Capability(count=4, gpu=True), histories, facts=facts) == "a"
    assert chosen(Capability(count=4, memory_bytes=8), histories, facts=facts) == "ab"
    assert chosen(Capability(count=4, gpu=True, memory_bytes=9), histories, facts=facts) == ""


KINDS = {
    **{name: replace(known(1.0), sketch=(1.0 + at / 50, 0.02)) for at, name in enumerate("abcdef")},
    **{name: replace(known(1.0), sketch=(-0.02, 5.0 + at)) for at, name in enumerate("xyz")},
}


def test_each_cluster_has_its_share_and_nobody_is_left_out_of_a_round() -> None:
    selector = Cluster(count=3, clusters=2)
    cohorts = {chosen(selector, KINDS, seed=seed) for seed in range(30)}
    assert {(sum(name in "xyz" for name in cohort), len(cohort)) for cohort in cohorts} == {(1, 3)}
    assert len(cohorts) > 5


def test_a_cohort_of_one_cluster_changes_from_round_to_round() -> None:
    selector = Cluster(count=3, clusters=2, cohort="same")
    kinds = [{name in "xyz" for name in chosen(selector, KINDS, seed=number, round=number)} for number in range(1, 7)]
    assert kinds in ([{True}, {False}] * 3, [{False}, {True}] * 3)


def test_a_cluster_of_too_few_is_filled_up_and_the_unknown_come_first() -> None:
    selector = Cluster(count=5, clusters=2, cohort="same")
    assert {len(chosen(selector, KINDS, round=number)) for number in (1, 2)} == {5}
    assert set(chosen(Cluster(count=2, clusters=2), {**KINDS, "n": TrainingHistory()})) >= {"n"}
    alike = {name: replace(known(1.0), sketch=(1.0, 1.0)) for name in "abcd"}
    assert len(chosen(Cluster(count=2, clusters=3), alike)) == 2


def test_by_direction_length_does_not_count_and_by_weights_it_does() -> None:
    far = {name: replace(known(1.0), sketch=(scale, 0.0)) for name, scale in zip("abcd", (1, 1.1, 9, 9.1), strict=True)}
    by_weights = {chosen(Cluster(count=2, clusters=2, by="weights"), far, seed=seed) for seed in range(20)}
    assert by_weights <= {"ac", "ad", "bc", "bd"}
    assert {chosen(Cluster(count=2, clusters=2), far, seed=seed) for seed in range(40)} - by_weights


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (LimitedTime, {"count": 1}),
        (LimitedEnergy, {"count": 1}),
        (Capability, {"count": 1}),
        (Cluster, {"count": 1, "clusters": 1}),
        (BudgetedFairness, {"count": 1, "round_s": 0.0}),
        (ConnectionOrder, {}),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type, given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind(**given)


# ---- in an experiment ---------------------------------------------------------------------------------------------


def plan_with(template: str, **settings: object) -> Plan:
    return Plan.model_validate(
        {
            "name": "demo",
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}},
            "selector": {"template": template, "settings": {"count": 2, **settings}},
        }
    )


def asked(played: PlayedExperiment) -> list[str]:
    return [command.assignment.collaborator for command in played.commands if isinstance(command, SendAssignment)]


def test_the_order_of_arrival_is_remembered_over_absences_and_restarts() -> None:
    plan = plan_with("connection_order")
    played = PlayedExperiment(Experiment("e1", plan, ("a", "b", "c"), "given"))
    played.feed(CollaboratorJoined("c"), CollaboratorJoined("b"), CollaboratorLeft("c", "lost"))
    played.feed(CollaboratorJoined("a"), CollaboratorJoined("c"), ExperimentStarted())
    assert sorted(asked(played)) == ["b", "c"]
    again = Experiment.restore(plan, played.experiment.snapshot(), played.experiment.versions)
    assert again.snapshot()["ready_order"] == ["c", "b", "a"]


def test_what_machines_have_decides_who_is_asked() -> None:
    played = PlayedExperiment(Experiment("e1", plan_with("capability", gpu=True), ("a", "b", "c"), "given"))
    able = MachineFacts(gpu=True, memory_bytes=1 << 34)
    played.feed(CollaboratorJoined("a"), CollaboratorJoined("b", None, able), CollaboratorJoined("c", None, able))
    played.feed(ExperimentStarted())
    assert sorted(asked(played)) == ["b", "c"]
    assert set(played.experiment.snapshot()["facts"]) == {"b", "c"}  # type: ignore[arg-type]  # a mapping


class Devices(PlayedExperiment):
    """Each training draws so many joules at its site."""

    draws: ClassVar = {"a": 1.0, "b": 3.0, "c": 3.0}

    def perform(self, job: Assignment) -> Sequence[Event]:
        update = Update(job.round, job.phase, job.collaborator, "d", 4)
        return [UpdateCommitted(update, energy_j=self.draws[job.collaborator])]


@pytest.mark.parametrize(
    ("participation", "rounds", "reason"),
    [
        ({"policy": "exact"}, 7, "no site has enough of its 7 J left for one more training"),
        ({"policy": "quorum", "min_updates": 2}, 2, "1 of 3 sites have enough of their 7 J left for one more"),
        ({"policy": "skip", "min_updates": 2}, 2, "1 of 3 sites have enough of their 7 J left for one more"),
    ],
)
def test_an_experiment_whose_sites_have_used_up_their_joules_is_finished(
    participation: dict[str, object], rounds: int, reason: str
) -> None:
    plan = plan_with("limited_energy", site_j=7, count=3)
    given = {"participation": participation, "aggregator": {"settings": {"rounds_to_train": 50}}}
    plan = Plan.model_validate({**plan.model_dump(), **given})
    played = Devices(Experiment("e1", plan, ("a", "b", "c"), "given"))
    played.feed(*(CollaboratorJoined(name) for name in "abc"), ExperimentStarted())
    (end,) = played.told(ExperimentEnded)
    assert (end.status, end.rounds, end.failure) == (Status.FINISHED, rounds, None)
    assert end.reason.startswith(reason)
    assert Counter(asked(played)) == {"a": rounds, "b": 2, "c": 2}


def test_nothing_is_remembered_that_nobody_goes_by() -> None:
    played = PlayedExperiment(Experiment("e1", plan_with("random"), ("a", "b", "c"), "given"))
    played.feed(*(CollaboratorJoined(name, None, MachineFacts(gpu=True)) for name in "abc"), ExperimentStarted())
    assert not {"ready_order", "facts", "histories"} & set(played.experiment.snapshot())


POWER = {"simulation": {"devices": {"speed": 10, "power": {"computing_w": 3}}}}


@pytest.mark.parametrize(
    ("plan", "simulated", "told"),
    [
        (plan_with("best_energy"), False, "nobody measures in a federation"),
        (plan_with("best_energy"), True, "the plan does not say what that is"),
        (plan_with("limited_energy", site_j=3), False, "nobody measures in a federation"),
        (plan_with("capability", gpu=True), True, "simulated sites have none"),
    ],
)
def test_what_nobody_tells_is_refused_before_anything_begins(plan: Plan, simulated: bool, told: str) -> None:  # noqa: FBT001 - a parameter
    assert mistakes_in(plan) == []
    with pytest.raises(PlanError, match=told):
        check_needs(plan, simulated=simulated)


def with_evaluators(plan: Plan, by: str, **changes: object) -> Plan:
    cluster = {"template": "cluster", "settings": {"count": 2, "clusters": 2, "by": by}}
    return Plan.model_validate({**plan.model_dump(), "evaluation_selector": cluster, **changes})


def test_of_an_update_there_is_one_sketch() -> None:
    check_needs(with_evaluators(plan_with("cluster", clusters=3, by="weights"), "weights"), simulated=True)
    with pytest.raises(PlanError, match="there is one sketch, which cannot be both") as caught:
        check_needs(with_evaluators(plan_with("cluster", clusters=3), "weights"), simulated=True)
    assert caught.value.place == "evaluation_selector.settings.by"


def test_updates_of_a_plan_that_trains_nothing_cannot_be_compared() -> None:
    with pytest.raises(PlanError, match="no task of the plan trains"):
        check_needs(
            with_evaluators(plan_with("random"), "update", tasks={"look": {"function": "validate"}}), simulated=True
        )


def test_versions_without_rounds_have_evaluators_by_cluster() -> None:
    mode = {"template": "buffered", "settings": {"concurrency": 4, "buffer": 2}}
    plan = with_evaluators(plan_with("random"), "update", mode=mode, selector={"template": "all"})
    assert mistakes_in(plan) == []
    check_needs(plan, simulated=True)


def test_what_somebody_tells_is_not() -> None:
    drawn = Plan.model_validate({**plan_with("best_energy").model_dump(), **POWER})
    check_needs(drawn, simulated=True)
    check_needs(plan_with("capability", gpu=True), simulated=False)
    check_needs(plan_with("cluster", clusters=2), simulated=False)
