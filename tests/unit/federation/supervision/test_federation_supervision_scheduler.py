"""Which experiment begins next: the rules one by one, and what holds in any order of events."""

import random
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openfl_like.federation.parties import Waiting, WaitKind
from openfl_like.federation.supervision.scheduler import (
    MOST_OVERTAKES,
    Demand,
    QueuedExperiment,
    Scheduler,
    SiteRoom,
)

ABC = {name: SiteRoom() for name in "abc"}


class Line:
    """A queue to which experiments come in the order in which they are named."""

    def __init__(self, places: int, sites: Mapping[str, SiteRoom] | None = None, most: int = MOST_OVERTAKES) -> None:
        self.scheduler = Scheduler(places, most)
        self.sites = dict(ABC if sites is None else sites)
        self.items: dict[str, QueuedExperiment] = {}

    def add(self, name: str, sites: str = "", user: str = "ada", interface: str = "", *, begun: bool = False) -> None:
        item = QueuedExperiment(name, user, len(self.items), Demand(frozenset(sites), interface), begun)
        self.items[name] = item
        self.scheduler.arrive(item)

    def start(self) -> list[str]:
        return self.scheduler.start(self.sites)

    def end(self, *names: str) -> list[str]:
        for name in names:
            self.scheduler.leave(name)
        return self.start()

    def waiting(self, name: str) -> Waiting | None:
        return self.scheduler.waiting(name)


def test_with_one_place_a_user_s_experiments_run_as_they_came() -> None:
    line = Line(1)
    for name in ("one", "two", "three"):
        line.add(name)
    assert line.start() == ["one"]
    assert line.waiting("two") == Waiting(WaitKind.PLACE, running=1, places=1)
    assert line.end("one") == ["two"]
    assert line.end("two") == ["three"]
    assert line.waiting("three") is None


def test_disjoint_cohorts_run_at_once_and_one_that_suits_is_not_blocked_by_an_earlier_one() -> None:
    line = Line(3)
    line.add("first", "ab")
    line.add("blocked", "bc")
    line.add("suits", "c")
    assert line.start() == ["first", "suits"]
    assert line.waiting("blocked") == Waiting(WaitKind.SITE, "b", "first")
    assert line.end("first") == []
    assert line.waiting("blocked") == Waiting(WaitKind.SITE, "c", "suits")
    assert line.end("suits") == ["blocked"]


def test_a_site_runs_as_many_as_it_bears() -> None:
    line = Line(4, {**ABC, "a": SiteRoom(2)})
    for name in ("one", "two", "three"):
        line.add(name, "a")
    assert line.start() == ["one", "two"]
    assert line.waiting("three") == Waiting(WaitKind.SITE, "a", "one")
    assert line.end("two") == ["three"]


def test_one_that_names_no_sites_takes_all_that_are_connected_and_no_site_too_many() -> None:
    line = Line(3)
    line.add("named", "a")
    line.add("all")
    assert line.start() == ["named"]
    assert line.waiting("all") == Waiting(WaitKind.SITE, "a", "named")
    del line.sites["a"]  # it is away for a moment, and will be back
    assert line.start() == []
    assert line.end("named") == ["all"]
    line.add("behind", "b")
    assert line.start() == []
    assert line.waiting("behind") == Waiting(WaitKind.SITE, "b", "all")
    line.scheduler.settle("all", ["c"])  # those it begins with
    assert line.start() == ["behind"]
    assert [line.scheduler.takes("all", site) for site in "bc"] == [False, True]


def test_a_site_that_comes_while_one_gathers_is_asked_once_only() -> None:
    line = Line(3, {"a": SiteRoom()})
    line.add("gathers")
    line.add("named", "b")  # which is not there
    assert line.start() == ["gathers", "named"]
    line.sites["b"] = SiteRoom()
    line.start()
    assert line.scheduler.takes("named", "b")
    assert not line.scheduler.takes("gathers", "b")


def test_two_that_name_no_sites_and_wait_for_the_first_one_do_not_both_take_it() -> None:
    line = Line(2, {})
    line.add("one")
    line.add("two")
    assert line.start() == ["one", "two"]
    line.sites["a"] = SiteRoom()
    assert line.start() == []
    line.scheduler.settle("one", "a")
    assert [line.scheduler.takes(name, "a") for name in ("one", "two")] == [True, False]


def test_of_the_absent_sites_only_those_are_waited_for_that_were_there_with_the_same_data() -> None:
    line = Line(4, {"a": SiteRoom(1, frozenset({"pictures"})), "b": SiteRoom(1, frozenset({"tables"}))})
    line.add("busy", "ac", interface="pictures")  # c was never there
    assert line.start() == ["busy"]
    del line.sites["a"]
    line.add("tables", interface="tables")
    line.add("pictures", interface="pictures")
    assert line.start() == ["tables"]
    assert line.waiting("pictures") == Waiting(WaitKind.SITE, "a", "busy")
    line.sites["d"] = SiteRoom(1, frozenset({"sounds"}))
    line.add("sounds", interface="sounds")
    assert line.start() == ["sounds"]


def test_a_site_that_is_away_for_a_moment_bears_as_many_as_before() -> None:
    line = Line(3, {"a": SiteRoom(2)})
    line.add("one", "a")
    assert line.start() == ["one"]
    del line.sites["a"]
    line.add("two", "a")
    assert line.start() == ["two"]


def test_interfaces_apart_are_sites_apart() -> None:
    both, pictures = frozenset({"pictures", "tables"}), frozenset({"pictures"})
    line = Line(3, {"a": SiteRoom(1, both), "b": SiteRoom(1, pictures), "c": SiteRoom(1, frozenset({"tables"}))})
    line.add("tables", interface="tables")
    line.add("pictures", interface="pictures")
    line.add("b", "b", interface="pictures")
    assert line.start() == ["tables", "b"]
    assert line.waiting("pictures") == Waiting(WaitKind.SITE, "a", "tables")
    assert [line.scheduler.takes("tables", site) for site in "abc"] == [True, False, True]


def test_users_take_turns() -> None:
    line = Line(1)
    for name in ("a1", "a2", "a3"):
        line.add(name)
    assert line.start() == ["a1"]
    for name in ("b1", "b2", "c1"):
        line.add(name, user={"b": "bob", "c": "cleo"}[name[0]])
    order = ["a1"]
    while begun := line.end(order[-1]):
        order += begun
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_place_that_is_free_again_is_a_newcomer_s_before_somebody_has_two() -> None:
    line = Line(2)
    line.add("a1", "a")
    line.add("a2", "b")
    assert line.start() == ["a1", "a2"]
    line.add("a3", "c")
    line.add("b1", "c", "bob")
    assert line.end("a1") == ["b1"]
    assert line.waiting("a3") == Waiting(WaitKind.PLACE, running=2, places=2)
    assert line.end("b1") == ["a3"]


def test_who_comes_again_and_again_passes_whoever_waits_once() -> None:
    line = Line(1)
    line.add("a1")
    assert line.start() == ["a1"]
    line.add("a2")
    line.add("b1", user="bob")
    assert line.end("a1") == ["b1"]
    line.add("b2", user="bob")  # there is none of his in the queue now, and he has had this turn
    line.add("c1", user="cleo")
    assert line.end("b1") == ["c1"]
    line.add("b3", user="bob")
    assert line.end("c1") == ["a2"]


def test_what_has_begun_before_a_restart_counts_as_its_user_s_turn() -> None:
    line = Line(2)
    line.add("a1", "a", begun=True)
    line.add("a2", "b", begun=True)
    line.add("a3", "c")
    line.add("b1", "c", "bob")
    assert line.start() == ["a1", "a2"]
    assert line.end("a1") == ["b1"]


def test_who_cancels_loses_no_turn_by_it() -> None:
    line = Line(1)
    for name in ("a1", "a2", "a3", "a4"):
        line.add(name)
    assert line.start() == ["a1"]
    line.scheduler.leave("a2")
    line.scheduler.leave("a3")
    line.add("b1", user="bob")
    line.add("b2", user="bob")
    assert line.end("a1") == ["b1"]
    assert line.end("b1") == ["a4"]


def test_one_that_is_resumed_has_the_place_of_its_submission_among_its_user_s() -> None:
    line = Line(1)
    for name in ("a1", "a2", "a3"):
        line.add(name)
    assert line.start() == ["a1"]
    line.scheduler.leave("a2")
    line.scheduler.arrive(line.items["a2"])
    assert line.end("a1") == ["a2"]


def test_what_had_begun_comes_first_and_needs_a_place_only() -> None:
    line = Line(2)
    line.add("queued", "c")
    line.add("one", "a", begun=True)
    line.add("two", "a", begun=True)  # the site bore two before
    line.add("three", "b", begun=True)
    assert line.start() == ["one", "two"]
    assert line.waiting("three") == Waiting(WaitKind.PLACE, running=2, places=2)
    assert line.end("one") == ["three"]
    assert line.end("two") == ["queued"]


def overtaken(most: int) -> int:
    """How many others begin before one that needs two sites which are never free together by themselves; up to 100."""
    line = Line(3, most=most)
    line.add("a0", "a", "bob")
    assert line.start() == ["a0"]
    line.add("patient", "ab")
    running, begun = "a0", 0
    for number in range(1, 100):
        site = "ab"[number % 2]
        line.add(f"next{number}", site, "bob")
        if line.start() == []:
            break
        begun += 1
        if "patient" in line.end(running):
            break
        running = f"next{number}"
    return begun


def test_one_that_was_overtaken_too_often_has_its_sites_kept() -> None:
    assert overtaken(MOST_OVERTAKES) == MOST_OVERTAKES
    assert overtaken(1000) == 99
    line = Line(3)
    line.add("long", "a")
    line.add("patient", "ab", "bob")
    for number in range(MOST_OVERTAKES):
        line.add(f"{number}", "b", "cleo")
        assert f"{number}" in line.end(str(number - 1))
    line.add("late", "b", "dora")
    line.add("elsewhere", "c", "dora")
    assert line.end(str(MOST_OVERTAKES - 1)) == ["elsewhere"]
    assert line.waiting("late") == Waiting(WaitKind.KEPT, "b", "patient")
    assert line.end("long") == ["patient"]


# ---- in any order


def check(line: Line, running: set[str]) -> None:
    """Nothing runs too much, and nobody waits for nothing."""
    scheduler = line.scheduler
    assert scheduler.running == running
    assert len(running) <= scheduler.places
    held: Counter[str] = Counter()
    for name in running:
        held.update(line.items[name].demand.sites or line.sites.keys())
    assert all(held[site] <= line.sites[site].limit for site in line.sites)
    for name in scheduler.queued:
        reason = scheduler.waiting(name)
        assert reason is not None
        wanted = line.items[name].demand.sites or line.sites.keys()
        free = len(running) < scheduler.places and all(held[site] < line.sites[site].limit for site in wanted)
        assert not free or reason.kind is WaitKind.KEPT
        if reason.kind is WaitKind.SITE:
            assert reason.experiment in running
            assert held[reason.site] == line.sites[reason.site].limit
        if reason.kind is WaitKind.KEPT:
            kept = line.items[reason.experiment]
            assert kept.overtaken >= MOST_OVERTAKES
            assert kept.rank < line.items[name].rank


SITES = st.text("abcd", max_size=3)
USERS = st.sampled_from(["ada", "bob", "cleo"])
STEPS = st.lists(st.one_of(st.tuples(SITES, USERS), st.integers(0, 9)), max_size=60)


@settings(max_examples=200)
@given(steps=STEPS, places=st.integers(1, 4), limits=st.lists(st.integers(1, 2), min_size=4, max_size=4))
def test_whatever_comes_and_ends_nobody_waits_for_nothing_and_all_have_their_turn(
    steps: list[tuple[str, str] | int], places: int, limits: list[int]
) -> None:
    line = Line(places, {site: SiteRoom(limit) for site, limit in zip("abcd", limits, strict=True)})
    running: set[str] = set()
    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            line.add(f"e{number}", *step)
        elif known := sorted(running | line.scheduler.queued):
            gone = known[step % len(known)]
            running.discard(gone)
            line.scheduler.leave(gone)
        running |= set(line.start())
        check(line, running)
    while line.scheduler.queued or running:  # everything ends, one after the other
        assert running
        running.discard(first := min(running))
        running |= set(line.end(first))
        check(line, running)


EXPERIMENTS = st.tuples(st.one_of(st.just(""), SITES), USERS)
COMINGS = st.lists(st.one_of(EXPERIMENTS, st.integers(0, 9), st.sampled_from("abcd")), max_size=60)


def gather(line: Line, settled: dict[str, list[str]]) -> None:
    """Whatever runs and has found sites goes on with these."""
    for name in sorted(line.scheduler.running - settled.keys()):
        there = [site for site in line.sites if line.scheduler.takes(name, site)]
        wanted = line.items[name].demand.sites
        if there and wanted <= set(there):
            settled[name] = [site for site in there if site in wanted or not wanted]
            line.scheduler.settle(name, settled[name])


def held_sites(line: Line, settled: Mapping[str, list[str]]) -> Counter[str]:
    """How many experiments each site runs."""
    held: Counter[str] = Counter()
    for name in line.scheduler.running:
        held.update(line.items[name].demand.sites or frozenset(settled.get(name, ())))
    return held


@settings(max_examples=200)
@example(steps=[("", "ada"), ("", "bob"), "a"], places=2, limits=[1, 1, 1, 1])
@given(steps=COMINGS, places=st.integers(1, 4), limits=st.lists(st.integers(1, 2), min_size=4, max_size=4))
def test_whenever_sites_come_and_go_none_is_given_more_than_it_bears_and_all_have_their_turn(
    steps: list[tuple[str, str] | int | str], places: int, limits: list[int]
) -> None:
    rooms = {site: SiteRoom(limit) for site, limit in zip("abcd", limits, strict=True)}
    line, settled, running = Line(places, {}), dict[str, list[str]](), set[str]()

    def go_on() -> None:
        running.update(line.start())
        gather(line, settled)
        held = held_sites(line, settled)
        assert all(held[site] <= room.limit for site, room in rooms.items() if site in line.sites)

    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            line.add(f"e{number}", *step)
        elif isinstance(step, str) and step not in line.sites:
            line.sites[step] = rooms[step]
        elif isinstance(step, str):
            del line.sites[step]
        elif known := sorted(running | line.scheduler.queued):
            gone = known[step % len(known)]
            running.discard(gone)
            settled.pop(gone, None)
            line.scheduler.leave(gone)
        go_on()
    while line.scheduler.queued or running:
        assert running
        running.discard(first := min(running))
        settled.pop(first, None)
        line.scheduler.leave(first)
        go_on()


@pytest.mark.parametrize("seed", range(5))
def test_of_twenty_users_with_five_experiments_each_nobody_starves(seed: int) -> None:
    """Each takes some of eight sites for some time; the clock goes from end to end."""
    chance = random.Random(seed)  # noqa: S311 (a test's choice is no secret)
    line = Line(3, {site: SiteRoom() for site in "abcdefgh"})
    users = [f"user-{number}" for number in range(20) for _ in range(5)]
    chance.shuffle(users)
    for number, user in enumerate(users):
        line.add(f"e{number}", "".join(chance.sample("abcdefgh", chance.choice((1, 1, 2, 3)))), user)
    now, ends, order = 0.0, dict[str, float](), list[str]()
    while line.scheduler.queued or ends:
        for name in line.start():
            ends[name] = now + chance.uniform(1, 10)
            order.append(name)
        check(line, set(ends))
        now, first = min((end, name) for name, end in ends.items())
        del ends[first]
        line.scheduler.leave(first)
    assert sorted(order) == sorted(line.items)
    assert max(item.overtaken for item in line.items.values()) == MOST_OVERTAKES


def test_where_only_places_are_short_users_take_exact_turns() -> None:
    line = Line(3, {f"site-{number}": SiteRoom() for number in range(100)})
    for number in range(100):
        item = QueuedExperiment(f"e{number}", f"user-{number // 5}", number, Demand(frozenset({f"site-{number}"})))
        line.items[item.id] = item
        line.scheduler.arrive(item)
    order = line.start()
    assert len(order) == 3
    for name in order:
        order += line.end(name)
    users = [line.items[name].user for name in order]
    assert [len(set(users[begin : begin + 20])) for begin in range(0, 100, 20)] == [20] * 5
