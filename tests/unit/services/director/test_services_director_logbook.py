"""Logs at the Director: written down as they come, and read by followers who are as slow as they like."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openfl_like.errors import NotFoundError, UsageError
from openfl_like.federation.parties import LogLines, LogQuery
from openfl_like.services.director.logbook import LogBook
from openfl_like.services.logs.rate_limit import Rate, TokenBucket
from openfl_like.services.logs.sender import LOG_LINE_LIMIT

FOLLOW = LogQuery(follow=True)


class Federation:
    """An experiment that runs until it is told to end, with the sites that work for it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.is_over, self.sites = directory, False, set[str]()
        self.book = LogBook(self.where, lambda _: self.is_over, lambda _: sorted(self.sites), pause_s=0.0)

    def where(self, experiment: str) -> Path:
        if experiment != "e1":
            raise NotFoundError(experiment)
        return self.directory

    def log(self, source: str, *lines: str, role: str = "collaborator") -> None:
        self.book.take(LogLines("e1", source, lines, role))

    def end(self) -> None:
        self.is_over = True
        self.book.wake("e1")

    def done(self, site: str) -> None:
        self.sites.remove(site)
        self.book.wake()


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return Federation(tmp_path)


async def following(book: LogBook, query: LogQuery = FOLLOW) -> AsyncIterator[str]:
    async for found in book.read("e1", query):
        for line in found.lines:
            yield f"{found.source}/{found.role}: {line}"


async def rest(stream: AsyncIterator[str]) -> list[str]:
    async with asyncio.timeout(5):
        return [line async for line in stream]


async def test_lines_are_given_as_they_come_and_the_end_waits_for_those_who_still_write(federation: Federation) -> None:
    federation.sites = {"bern", "zurich"}
    federation.log("bern", "one")
    federation.log("bern", "two", role="worker")
    federation.log("bern", "three", role="envoy")
    lines = following(federation.book)
    async with asyncio.timeout(5):
        assert [await anext(lines) for _ in range(3)] == [
            "bern/collaborator: one", "bern/worker: two", "bern/envoy: three",
        ]  # fmt: skip
        federation.log("zurich", "four")
        assert await anext(lines) == "zurich/collaborator: four"
        federation.end()
        federation.done("bern")
        federation.log("zurich", "last words")
        assert await anext(lines) == "zurich/collaborator: last words"
        federation.done("zurich")
    assert await rest(lines) == []


async def test_who_was_away_goes_on_where_it_was(federation: Federation) -> None:
    federation.log("bern", "one")
    federation.log("bern", "two", role="worker")
    federation.log("bern", "three")
    federation.log("zurich", "four")
    federation.end()
    seen = [found async for found in federation.book.read("e1", FOLLOW)]
    assert [found.complete for found in seen] == [False] * (len(seen) - 1) + [True]
    for count in range(len(seen)):
        known = {found.source: found.position for found in seen[:count]}
        again = [found async for found in federation.book.read("e1", LogQuery(follow=True, after=known))]
        assert again == seen[count:]


async def test_a_role_and_a_source_can_be_chosen(federation: Federation) -> None:
    federation.log("bern", "one", "worker: not by it", "envoy: nor this")
    federation.log("bern", "two", "envoy: three", role="worker")
    federation.log("aggregator", "worker: three")
    federation.end()
    assert await rest(following(federation.book, LogQuery(role="worker"))) == [
        "bern/worker: two",
        "bern/worker: envoy: three",
    ]
    assert await rest(following(federation.book, LogQuery("aggregator", follow=True))) == [
        "aggregator/aggregator: worker: three"
    ]
    with pytest.raises(UsageError, match="no role 'boss'"):
        federation.book.read("e1", LogQuery(role="boss"))
    with pytest.raises(NotFoundError, match="logs are there from: aggregator, bern"):
        await rest(following(federation.book, LogQuery("basel")))


async def test_a_slow_follower_holds_nobody_up_and_is_told_what_it_has_missed(federation: Federation) -> None:
    slow = following(federation.book)
    federation.log("bern", "first")
    async with asyncio.timeout(5):
        assert await anext(slow) == "bern/collaborator: first"
    federation.book._writers[("e1", "bern")].file._limit = 100
    for number in range(60):
        federation.log("bern", f"line {number}")
    federation.end()
    found = await rest(slow)
    assert found[0].startswith("bern/director: (")
    assert found[0].endswith("bytes of 'bern' before this are not kept any more)")
    assert found[-1] == "bern/collaborator: line 59"
    assert len(federation.book._followers) == 0


async def test_a_site_that_writes_too_much_loses_lines_and_the_log_says_how_many(federation: Federation) -> None:
    federation.book._buckets["bern"] = TokenBucket(Rate(1.0, 1e6, 3.0), clock=lambda: 0.0)
    federation.log("bern", *"abcdef")
    federation.log("zurich", "z" * (LOG_LINE_LIMIT + 9))
    federation.end()
    bern = await rest(following(federation.book, LogQuery("bern", follow=True)))
    assert [line[-1] for line in bern[:3]] == ["a", "b", "c"]
    assert "(3 lines are missing here" in bern[3]
    zurich = await rest(following(federation.book, LogQuery("zurich")))
    assert len(zurich[0]) == LOG_LINE_LIMIT + len("zurich/collaborator: ")


async def test_a_site_that_never_ends_is_waited_for_some_seconds(federation: Federation) -> None:
    federation.book.last_lines_s = 0.02
    federation.sites = {"bern"}
    federation.log("bern", "one")
    federation.end()
    assert (await rest(following(federation.book)))[1] == (
        "director/director: (nothing more came within 0.02 s from: bern)"
    )


async def test_lines_of_an_experiment_that_is_not_there_are_dropped(federation: Federation, tmp_path: Path) -> None:
    federation.book.take(LogLines("e2", "bern", ("one",)))
    assert list(tmp_path.iterdir()) == []


async def test_one_log_with_very_much_does_not_keep_the_others_waiting(federation: Federation) -> None:
    federation.book.most_pieces = 1
    for _ in range(40):
        federation.book._buckets.clear()
        federation.book._writers.clear()
        federation.log("bern", *("x" * 3000 for _ in range(20)))
    federation.log("zurich", "me, too")
    federation.end()
    for query in (FOLLOW, LogQuery()):
        found = await rest(following(federation.book, query))
        assert found.index("zurich/collaborator: me, too") < 100
        assert len(found) == 801
