"""One experiment at the Director: golden transcripts; ``OPENFL_LIKE_GOLDEN=1 pytest`` writes them anew."""

from collections.abc import Callable

import pytest
from played_run import FINISHED, WELL, Play
from transcripts import GOLDEN, Transcripts

from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAdmitted,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentResumed,
    RoundFinished,
)
from openfl_like.federation.events import CancelRequested
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.experiment_run import NO_ROOM, OBJECTIONS, ExperimentRun, RunStep
from openfl_like.federation.supervision.restarts import PauseOver
from openfl_like.federation.supervision.run_events import (
    AggregatorExited,
    AggregatorListening,
    CancelOverdue,
    DirectorStopping,
    EnvoysThere,
    Recovered,
    RoomMissing,
    RunCommand,
    RunFailed,
    SiteAccepted,
    SiteEnded,
    SiteRefused,
)
from openfl_like.plan.schema import Admission

KILLED = AggregatorExited(Failure(FailureKind.AGGREGATOR, "killed by SIGKILL", exit_code=-9))
CANCELLED = ExperimentEnded(Status.CANCELLED, "cancelled by ada", by="ada")


def joined(names: str) -> list[Announcement]:
    return [CollaboratorAdmitted(name) for name in names]


def the_usual_run() -> Play:
    play = Play()
    play.start("ab")
    play.happen(SiteAccepted("b", b"csr-b"), AggregatorListening(), SiteAccepted("a", b"csr-a"))
    play.record(ExperimentBegun("exp-1", expected=("a", "b")), *joined("ba"), RoundFinished(1, "model-1"))
    play.happen(SiteEnded("a", 0, ""))
    play.end()
    return play


def envoys_come_in_time() -> Play:
    play = Play()
    play.happen(
        Recovered(Admission(collaborators=("a", "b")), frozenset(), ("b", "z")),
        EnvoysThere(("a", "b", "z")),
    )
    return play


def any_envoys_will_do() -> Play:
    play = Play()
    play.happen(Recovered(Admission(min_collaborators=2), frozenset(), ("a",)), EnvoysThere(("a", "c")))
    return play


def fewer_envoys_will_do_when_time_is_up() -> Play:
    play = Play()
    play.happen(
        Recovered(Admission(collaborators=("a", "b", "c"), min_collaborators=2, timeout_s=5), frozenset(), ()),
        EnvoysThere(("a", "c")),
    )
    return play


def too_few_envoys() -> Play:
    play = Play()
    play.happen(
        Recovered(Admission(collaborators=("a", "b", "c"), min_collaborators=2, timeout_s=5), frozenset(), ()),
        EnvoysThere(("a", "z")),
        EnvoysThere(("a", "b", "c")),
    )
    return play


def a_refusal_is_tolerated() -> Play:
    play = Play()
    play.listen(min_collaborators=2)
    play.happen(SiteRefused("b", "the signature is not valid"))
    play.record(*joined("ac"))
    play.end()
    return play


def a_refusal_makes_it_impossible() -> Play:
    play = Play()
    play.listen(min_collaborators=2)
    no_wheel = Failure(FailureKind.ENVIRONMENT, "there is no wheel", "RequirementsError", site="b")
    play.happen(SiteRefused("c", "", no_wheel), SiteRefused("a", "its disk is full"), WELL)
    return play


def refusals_before_the_aggregator_listens() -> Play:
    play = Play()
    play.start()
    about_others = Failure(FailureKind.WORKER, "it is the fault of a", site="a")
    play.happen(SiteRefused("b", "", about_others), AggregatorListening())
    return play


def a_refusal_when_all_have_joined_changes_nothing() -> Play:
    play = Play()
    play.listen()
    play.record(*joined("abc"))
    play.happen(SiteRefused("b", "it is busy"))
    play.end()
    return play


def a_refusal_while_the_aggregator_is_started_again() -> Play:
    play = Play()
    play.listen()
    play.happen(KILLED, SiteRefused("b", "it is busy"))
    return play


def a_collaborator_ends_before_it_has_joined() -> Play:
    play = Play()
    play.listen()
    play.record(*joined("ab"))
    play.happen(SiteEnded("c", -15, ""), SiteEnded("c", 1, "exit code 1; last line: no such file"))
    return play


def a_collaborator_is_lost_and_comes_back() -> Play:
    play = Play()
    play.listen()
    play.record(*joined("abc"))
    play.happen(SiteEnded("c", 1, "exit code 1"), SiteEnded("a", -9, "killed"), SiteAccepted("c", b"csr-c2"))
    play.happen(KILLED, PauseOver(), AggregatorListening())
    play.record(*joined("a"))
    play.happen(KILLED, SiteEnded("b", -9, "killed"), PauseOver(), AggregatorListening())
    play.end()
    return play


def a_site_asks_again() -> Play:
    play = Play()
    play.start("ab")
    play.happen(SiteAccepted("a", b"csr-1"), AggregatorListening(), SiteAccepted("a", b"csr-2"))
    play.end()
    play.happen(SiteAccepted("a", b"csr-3"))
    return play


def a_site_that_had_refused_takes_its_order() -> Play:
    play = Play()
    play.listen("abc", min_collaborators=2)
    play.happen(SiteRefused("a", "it is busy", None), SiteAccepted("a", b"csr-a"))
    play.record(*joined("ac"))
    play.happen(SiteRefused("b", "it is busy", None))
    play.end()
    return play


def the_aggregator_dies_and_comes_back() -> Play:
    play = Play()
    play.listen("ab")
    for number in (1, 2):
        play.happen(KILLED, PauseOver(), AggregatorListening())
        play.happen(KILLED, PauseOver(), KILLED, PauseOver(), AggregatorListening())
        play.record(RoundFinished(number, f"model-{number}"))
    play.end()
    return play


def the_aggregator_dies_too_often() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(KILLED, PauseOver(), AggregatorListening(), KILLED, PauseOver(), KILLED, PauseOver(), KILLED)
    return play


def the_first_aggregator_dies_over_its_start() -> Play:
    play = Play()
    play.start("ab")
    play.happen(KILLED, PauseOver(), AggregatorListening())
    return play


def the_aggregator_objects() -> Play:
    play = Play()
    play.start("ab")
    play.happen(AggregatorExited(Failure(FailureKind.AGGREGATOR, "exit code 3", exit_code=min(OBJECTIONS))))
    return play


def the_aggregator_objects_when_it_is_started_again() -> Play:
    play = Play()
    objects = AggregatorExited(Failure(FailureKind.AGGREGATOR, "exit code 3", exit_code=min(OBJECTIONS)))
    play.listen("ab")
    play.happen(objects, PauseOver(), objects)
    return play


def cancelled_while_its_record_is_read() -> Play:
    play = Play()
    play.happen(CancelRequested("ada"))
    play.start("ab")
    return play


def cancelled_while_envoys_are_waited_for() -> Play:
    play = Play()
    play.happen(Recovered(Admission(min_collaborators=2), frozenset(), ("a",)))
    play.happen(CancelRequested("ada"), EnvoysThere(("a", "b")))
    return play


def cancelled_while_it_is_started() -> Play:
    play = Play()
    play.start("ab")
    play.happen(KILLED, CancelRequested("ada"), PauseOver(), CancelRequested("bob"))
    return play


def cancelled_while_it_runs() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(CancelRequested("ada"))
    play.end(CANCELLED)
    return play


def cancelled_while_the_aggregator_is_started_again() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(KILLED, CancelRequested("ada"), PauseOver(), AggregatorListening())
    play.end(CANCELLED)
    return play


def cancelled_and_not_ended_in_time() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(CancelRequested("ada"), CancelRequested("bob"), CancelOverdue(), KILLED)
    return play


def cancelled_and_ended_just_in_time() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(CancelRequested("ada"))
    play.record(CANCELLED)
    play.happen(CancelOverdue(), WELL)
    return play


def cancelled_and_the_next_aggregator_has_its_own_time() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(CancelRequested("ada"), KILLED, CancelOverdue(), PauseOver(), AggregatorListening(), CancelOverdue())
    return play


def cancelled_and_never_started_again() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(CancelRequested("ada"), KILLED, PauseOver(), KILLED, PauseOver(), KILLED, PauseOver(), KILLED)
    return play


def cancelled_when_it_had_finished() -> Play:
    play = Play()
    play.listen("ab")
    play.record(FINISHED)
    play.happen(CancelRequested("ada"), WELL, CancelRequested("ada"))
    return play


def cancelled_without_room() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(CancelRequested("ada"), RoomMissing("there is no room on the disk"))
    return play


def the_director_comes_back_to_one_that_had_ended() -> Play:
    play = Play()
    play.record(ExperimentQueued("ada"), ExperimentBegun("exp-1"), FINISHED)
    play.happen(CancelRequested("ada"), Recovered(Admission(), frozenset("ab"), ()))
    return play


def the_director_comes_back_to_one_that_goes_on() -> Play:
    play = Play()
    play.record(ExperimentQueued("ada"), ExperimentBegun("exp-1"), *joined("ab"))
    play.happen(Recovered(Admission(min_collaborators=2), frozenset("ab"), ()), SiteEnded("a", 1, "exit code 1"))
    play.happen(AggregatorListening())
    return play


def the_director_comes_back_to_one_that_was_resumed() -> Play:
    play = Play()
    play.record(ExperimentQueued("ada"), ExperimentBegun("exp-1"), CANCELLED, ExperimentResumed("bob"))
    play.happen(
        Recovered(Admission(min_collaborators=1, timeout_s=5), frozenset("ab"), ("b", "c")), EnvoysThere(("b", "c"))
    )
    return play


def one_that_was_resumed_waits_in_vain() -> Play:
    play = Play()
    play.record(ExperimentQueued("ada"), ExperimentBegun("exp-1"), CANCELLED, ExperimentResumed("bob"))
    play.happen(Recovered(Admission(min_collaborators=2), frozenset("ab"), ("b",)), EnvoysThere(("b",)))
    return play


def the_aggregator_has_no_room() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(AggregatorExited(Failure(FailureKind.AGGREGATOR, "exit code 7", exit_code=NO_ROOM)), PauseOver())
    return play


def the_director_has_no_room() -> Play:
    play = Play()
    play.start("ab")
    play.happen(RoomMissing("there is no room on the disk"), SiteAccepted("a", b"csr-a"), CancelRequested("ada"))
    return play


def the_director_cannot_run_it() -> Play:
    play = Play()
    failure = Failure(FailureKind.DIRECTOR, "all aggregator ports are taken", "ConflictError")
    play.start("ab")
    play.happen(RunFailed("all aggregator ports are taken", failure), AggregatorListening())
    return play


def the_director_is_stopped() -> Play:
    play = Play()
    play.listen("ab")
    play.happen(CancelRequested("ada"), DirectorStopping(), WELL, SiteAccepted("a", b"csr-a"))
    return play


TRANSCRIPTS = Transcripts(GOLDEN / "experiment_run")
SCENARIOS: list[Callable[[], Play]] = [
    the_usual_run,
    envoys_come_in_time,
    any_envoys_will_do,
    fewer_envoys_will_do_when_time_is_up,
    too_few_envoys,
    a_refusal_is_tolerated,
    a_refusal_makes_it_impossible,
    refusals_before_the_aggregator_listens,
    a_refusal_when_all_have_joined_changes_nothing,
    a_refusal_while_the_aggregator_is_started_again,
    a_collaborator_ends_before_it_has_joined,
    a_collaborator_is_lost_and_comes_back,
    a_site_asks_again,
    a_site_that_had_refused_takes_its_order,
    the_aggregator_dies_and_comes_back,
    the_aggregator_dies_too_often,
    the_first_aggregator_dies_over_its_start,
    the_aggregator_objects,
    the_aggregator_objects_when_it_is_started_again,
    cancelled_while_its_record_is_read,
    cancelled_while_envoys_are_waited_for,
    cancelled_while_it_is_started,
    cancelled_while_it_runs,
    cancelled_while_the_aggregator_is_started_again,
    cancelled_and_not_ended_in_time,
    cancelled_and_ended_just_in_time,
    cancelled_and_the_next_aggregator_has_its_own_time,
    cancelled_and_never_started_again,
    cancelled_when_it_had_finished,
    cancelled_without_room,
    the_director_comes_back_to_one_that_had_ended,
    the_director_comes_back_to_one_that_goes_on,
    the_director_comes_back_to_one_that_was_resumed,
    one_that_was_resumed_waits_in_vain,
    the_aggregator_has_no_room,
    the_director_has_no_room,
    the_director_cannot_run_it,
    the_director_is_stopped,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_transcript(scenario: Callable[[], Play]) -> None:
    TRANSCRIPTS.compare(scenario.__name__, scenario().lines)


def test_every_transcript_has_its_scenario() -> None:
    TRANSCRIPTS.are_of([scenario.__name__ for scenario in SCENARIOS])


def test_a_run_knows_where_its_record_goes_on() -> None:
    run = ExperimentRun()
    run.learn(Announced(7, 1.0, RoundFinished(1, "model-1")))
    assert (run.seen, run.step) == (7, RunStep.RECOVERING)


def test_of_a_collaborator_that_was_told_to_stop_nobody_is_told() -> None:
    run = ExperimentRun()
    commands: list[RunCommand] = run.handle(SiteEnded("a", 0, "well")) + run.handle(SiteEnded("a", -15, ""))
    assert (commands, run.out, run.lost) == ([], {}, {})
