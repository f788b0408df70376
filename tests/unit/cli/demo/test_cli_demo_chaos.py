"""What is told of a run whose processes are killed, and when the blows fall."""

import json
from collections.abc import AsyncIterator, Iterable

import pytest

from openfl_like.cli.demo.chaos import Blow, Story, disturb, verdict
from openfl_like.cli.experiment.progress import Screen
from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import ExperimentFailedError, InternalError, UsageError
from openfl_like.federation.announcements import Announced, from_fields
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status

SITES = ("bern", "zurich")
END = ExperimentSummary("digits-1", "digits", Status.FINISHED, "all rounds", "user", 1.0)
Fact = tuple[str, dict[str, object]]


def joined(*names: str) -> list[Fact]:
    return [("collaborator_joined", {"collaborator": name}) for name in names]


def opened(number: int, phase: str = "train") -> list[Fact]:
    sent = [("assignment_sent", {"round": number, "phase": phase, "collaborator": name}) for name in SITES]
    return [("round_started", {"round": number, "cohort": list(SITES)}), *sent]


def delivered(number: int, *names: str, phase: str = "train") -> list[Fact]:
    return [("update_received", {"round": number, "phase": phase, "collaborator": name}) for name in names]


def closed(number: int) -> list[Fact]:
    fields = {"round": number, "digest": "d", "metrics": {}, "contributors": list(SITES), "absent": {}, "seconds": 0.5}
    return [("round_finished", fields)]


def started(epoch: int) -> list[Fact]:
    return [("experiment_started", {"experiment_id": "e-1", "resumed": epoch > 1, "epoch": epoch, "rounds": 3})]


def ended() -> list[Fact]:
    return [("experiment_ended", {"status": "FINISHED", "reason": "3 of 3 rounds are done"})]


def numbered(*parts: Iterable[Fact]) -> list[Announced]:
    facts = [fact for part in parts for fact in part]
    return [
        Announced(number, float(number), from_fields(kind, fields))
        for number, (kind, fields) in enumerate(facts, start=1)
    ]


WHOLE = numbered(
    started(1), joined(*SITES), opened(1), delivered(1, *SITES), closed(1),
    opened(2), delivered(2, "bern"), started(2), joined("zurich", "bern"), delivered(2, "zurich"), closed(2),
    opened(3), delivered(3, "zurich"), started(3), joined(*SITES), delivered(3, "bern"), closed(3), ended(),
)  # fmt: skip


class Hammer:
    """Notes who was killed and who was started again."""

    def __init__(self, *pids: int) -> None:
        self.done: list[str] = []
        self._pids = list(pids)

    async def kill(self) -> int:
        self.done.append("kill")
        return self._pids.pop(0)

    async def restart(self) -> int:
        self.done.append("restart")
        return self._pids.pop(0)


async def watched(events: Iterable[Announced]) -> AsyncIterator[ExperimentSummary | Announced]:
    for event in events:
        yield event
    yield END


def nothing_else(_: int) -> list[Announced]:
    return []


async def test_the_screen_tells_it_in_plain_words() -> None:
    lines: list[str] = []
    story = Story(Screen(as_json=False, show=lines.append))
    director, aggregator = Hammer(11, 12), Hammer(13)
    blows = [Blow("Director", 2, director.kill, director.restart), Blow("Aggregator", 3, aggregator.kill)]
    last, dealt = await disturb(watched(WHOLE), story, blows, nothing_else)
    assert last == END
    assert dealt == ["the Director was killed in round 2", "the Aggregator was killed in round 3"]
    assert (director.done, aggregator.done) == (["kill", "restart"], ["kill"])
    assert lines == [
        "experiment e-1 started: 3 rounds",
        "bern joined",
        "zurich joined",
        "sites: bern, zurich",
        "round 1    0.50 s",
        "==> round 2 is under way, 1 of 2 sites have delivered: the Director is killed (kill -9, process 11)",
        "==> the Director is started again on the same state (process 12)",
        "the experiment goes on from its last committed step",
        "zurich joined",
        "bern joined",
        "==> the sites are back, round 2 goes on",
        "round 2    0.50 s",
        "==> round 3 is under way, 1 of 2 sites have delivered: the Aggregator is killed (kill -9, process 13)",
        "the experiment goes on from its last committed step",
        "bern joined",
        "zurich joined",
        "==> the sites are back, round 3 goes on",
        "round 3    0.50 s",
        "FINISHED: 3 of 3 rounds are done",
    ]


async def test_json_lines_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    hammer = Hammer(11, 12)
    blows = [Blow("Director", 2, hammer.kill, hammer.restart)]
    await disturb(watched(WHOLE), Story(Screen(as_json=True)), blows, nothing_else)
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["sequence"] for value in values if "sequence" in value] == list(range(1, len(WHOLE) + 1))
    assert [value for value in values if "sequence" not in value] == [
        {"kind": "killed", "process": "Director", "pid": 11, "round": 2, "phase": "train", "delivered": ["bern"]},
        {"kind": "restarted", "process": "Director", "pid": 12},
        {"kind": "back", "round": 2, "sites": ["bern", "zurich"]},
    ]


async def test_what_was_committed_before_the_blow_is_told_before_it_and_not_again() -> None:
    lines: list[str] = []
    hammer = Hammer(11, 12)
    late = next(event.sequence for event in WHOLE if event.kind == "round_finished")

    def committed(after: int) -> list[Announced]:
        return [event for event in WHOLE if after < event.sequence <= late + 4]

    blows = [Blow("Director", 1, hammer.kill, hammer.restart)]
    _, dealt = await disturb(watched(WHOLE), Story(Screen(as_json=False, show=lines.append)), blows, committed)
    assert dealt == ["the Director was killed in round 2"]
    assert lines.index("round 1    0.50 s") + 1 == lines.index(
        "==> round 2 is under way, 1 of 2 sites have delivered: the Director is killed (kill -9, process 11)"
    )
    assert sum(line.startswith("round 1 ") for line in lines) == 1


async def test_no_blow_falls_before_all_sites_are_back() -> None:
    first, second = Hammer(11, 12), Hammer(13)
    blows = [Blow("Director", 2, first.kill, first.restart), Blow("Aggregator", 2, second.kill)]
    lines: list[str] = []
    await disturb(watched(WHOLE), Story(Screen(as_json=False, show=lines.append)), blows, nothing_else)
    assert lines.index("==> the sites are back, round 2 goes on") < next(
        number for number, line in enumerate(lines) if "Aggregator is killed" in line
    )


async def test_a_blow_that_comes_too_late_is_not_told_and_the_director_is_started_all_the_same() -> None:
    hammer = Hammer(11, 12)
    lines: list[str] = []
    blows = [Blow("Director", 3, hammer.kill, hammer.restart)]

    def everything(after: int) -> list[Announced]:
        return [event for event in WHOLE if event.sequence > after]

    story = Story(Screen(as_json=False, show=lines.append))
    last, dealt = await disturb(watched(WHOLE), story, blows, everything)
    assert (last, dealt, hammer.done) == (END, [], ["kill", "restart"])
    assert not [line for line in lines if "kill" in line]


async def test_who_was_not_there_was_not_killed() -> None:
    _, dealt = await disturb(
        watched(WHOLE), Story(Screen(as_json=True)), [Blow("Aggregator", 1, Hammer(0).kill)], nothing_else
    )
    assert dealt == []


async def test_a_round_may_be_done_by_the_time_the_sites_are_back() -> None:
    lines: list[str] = []
    hammer = Hammer(13)
    events = numbered(
        joined(*SITES), opened(1), delivered(1, *SITES), [("aggregator_lost", {"reason": "killed", "restart": 1})],
        started(2), joined("bern"), closed(1), opened(2), joined("zurich"),
    )  # fmt: skip

    def committed(after: int) -> list[Announced]:
        return [event for event in events if event.sequence > after]

    story = Story(Screen(as_json=False, show=lines.append))
    await disturb(watched(events), story, [Blow("Aggregator", 1, hammer.kill)], committed)
    assert lines[2:] == [
        "==> round 1 is under way, 2 of 2 sites have delivered: the Aggregator is killed (kill -9, process 13)",
        "killed; restart 1",
        "the experiment goes on from its last committed step",
        "bern joined",
        "sites: bern, zurich",
        "round 1    0.50 s",
        "zurich joined",
        "==> the sites are back, round 1 is done and round 2 goes on",
    ]


def test_a_gap_in_the_history_is_a_defect() -> None:
    story = Story(Screen(as_json=True))
    story.event(WHOLE[0])
    with pytest.raises(InternalError, match="event 3 came after event 1"):
        story.event(WHOLE[2])


def test_equal_digests_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    verdict("ab" * 32, "ab" * 32, ["the Director was killed in round 2"], as_json=False)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "SHA-256 of the last model",
        f"undisturbed  {'ab' * 32}",
        f"disturbed    {'ab' * 32}",
        "the same, bit by bit, although the Director was killed in round 2",
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_other_bytes_are_exit_code_1(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    with pytest.raises(ExperimentFailedError, match="another model"):
        verdict("ab", "cd", ["the Director was killed in round 2"], as_json=as_json)
    assert MEANINGS[ExperimentFailedError].exit_code == 1
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out) == {
            "kind": "verdict", "undisturbed": "ab", "disturbed": "cd", "same": False,
            "done": ["the Director was killed in round 2"],
        }  # fmt: skip
    else:
        assert "ab" in out
        assert "cd" in out
        assert "the same" not in out


def test_a_run_that_nobody_disturbed_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="more rounds"):
        verdict("ab", "ab", [], as_json=False)
    assert capsys.readouterr().out == ""
