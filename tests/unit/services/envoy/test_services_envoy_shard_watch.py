"""A shard that changes while the Envoy runs is described anew, once, when nobody writes it any more."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import rmtree

import pytest

from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from openfl_like.federation.parties import DataProblem, Interface, ShardFacts
from openfl_like.services.envoy.shard_watch import ShardWatch, _walk, signature


def facts(count: int, shape: tuple[int, ...] = (3,)) -> ShardFacts:
    return ShardFacts(shape, (), f"{count} patients", {"counts": {"train": count}})


class Site:
    """A site with a table, its shard.yaml, and a description that the test chooses."""

    def __init__(self, directory: Path) -> None:
        self.shard, self.table = directory / "shard.yaml", directory / "patients.csv"
        self.shard.write_text("template: mine:Shard\nparams: {file: patients.csv, folder: scans}\n")
        self.table.write_text("1\n")
        self.scans = directory / "scans" / "deep"
        self.scans.mkdir(parents=True)
        self.next: ShardFacts | Exception = facts(1)
        self.described, self.told = 0, list[ShardFacts | DataProblem]()
        before = signature([self.shard])
        self.watch = ShardWatch((self.shard,), (facts(1),), before, directory, self.tell, describe=self.describe)

    def tell(self) -> None:
        self.told += [self.watch.problem] if self.watch.problem is not None else self.watch.facts

    async def describe(self, configs: Mapping[Path, ShardConfig], _: Path) -> tuple[ShardFacts, ...]:
        assert list(configs) == [self.shard]
        self.described += 1
        if isinstance(self.next, Exception):
            raise self.next
        return (self.next,)

    async def looks(self, times: int = 2) -> None:
        for _ in range(times):
            await self.watch.look()


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    await made.watch.look()
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site.table.write_text("1\n2\n"),
        lambda site: site.shard.write_text("template: mine:Shard\nparams: {file: patients.csv, folder: scans, n: 2}\n"),
        lambda site: (site.scans / "one.npy").write_bytes(b"1"),
        lambda site: (site.shard.parent / "mine.py").write_text("class Shard: ...\n"),
        lambda site: site.table.unlink(),
    ],
)
async def test_whatever_belongs_to_the_shard_is_looked_at(site: Site, change: Callable[[Site], object]) -> None:
    change(site)
    site.next = facts(2)
    await site.looks()
    assert (site.told, site.watch.facts, site.described) == ([facts(2)], (facts(2),), 1)
    await site.looks(3)
    assert (site.told, site.described) == ([facts(2)], 1)


async def test_what_changed_while_the_shard_was_described_first_is_noticed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.table.write_text("1\n2\n")  # loading it took minutes, and nobody has looked since
    site.next = facts(2)
    await site.looks()
    assert (site.told, site.described) == ([facts(2)], 1)


async def test_nothing_is_described_while_nothing_changes(site: Site) -> None:
    await site.looks(4)
    assert (site.told, site.described) == ([], 0)


async def test_a_table_that_is_being_written_is_left_alone_until_it_rests(site: Site) -> None:
    for number in range(3):
        site.table.write_text("1\n" * (number + 2))
        await site.looks(1)
    assert site.described == 0
    await site.looks(1)
    assert site.described == 1


async def test_what_is_described_as_before_is_not_told(site: Site) -> None:
    site.table.write_text("another\n")
    await site.looks()
    assert (site.told, site.described) == ([], 1)


OTHER = DataProblem(Interface("", (3,), ()), Interface("", (4,), ()))


@pytest.mark.parametrize(
    ("found", "problem", "told"),
    [
        (
            ShardError("line 3 is no number"),
            DataProblem(),
            "the data of this site has changed and cannot be used; the site's log says why",
        ),
        (
            facts(5, (4,)),
            OTHER,
            "the data of this site has samples of shape [4], targets of shape [] now, "
            "not samples of shape [3], targets of shape []",
        ),
    ],
)
async def test_what_cannot_be_used_is_told_and_the_facts_stay_what_they_were(
    site: Site, caplog: pytest.LogCaptureFixture, found: ShardFacts | Exception, problem: DataProblem, told: str
) -> None:
    site.table.write_text("1\nx\n")
    site.next = found
    await site.looks()
    assert (site.told, site.watch.facts) == ([problem], (facts(1),))
    assert str(problem) == told
    (warning,) = [item.getMessage() for item in caplog.records if item.levelno == logging.WARNING]
    assert ("line 3 is no number" if isinstance(found, Exception) else "samples of shape [4]") in warning
    assert "orders are refused" in warning
    site.table.write_text("1\nx\ny\n")
    await site.looks()
    assert site.told == [problem]  # still so: nobody needs to hear it twice
    site.table.write_text("1\n2\n3\n")
    site.next = facts(3)
    await site.looks()
    assert (site.told, site.watch.problem) == ([problem, facts(3)], None)


async def test_data_that_is_as_it_was_again_is_told(site: Site) -> None:
    for after, expected in ((facts(5, (4,)), [OTHER]), (facts(1), [OTHER, facts(1)])):
        site.table.write_text(site.table.read_text() + "1\n")
        site.next = after
        await site.looks()
        assert site.told == expected


def test_a_shard_yaml_that_cannot_be_read_is_looked_at_all_the_same(tmp_path: Path) -> None:
    shard = tmp_path / "shard.yaml"
    shard.write_text("template: [\n")
    assert {Path(path).name for path, _, _ in signature([shard])} == {"shard.yaml"}
    assert signature([tmp_path / "none.yaml"]) == frozenset()


def too_deep(top: Path) -> None:
    """Makes folders in folders until no path leads there any more: to open one is an OSError, for root too."""
    folder = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=folder)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)


async def test_what_cannot_be_looked_at_is_said_once_and_described_anew(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    too_deep(site.scans)
    site.next = facts(2)
    await site.looks(4)
    assert (site.told, site.described) == ([facts(2)], 1)
    (warning,) = [item.getMessage() for item in caplog.records if item.levelno == logging.WARNING]
    assert "cannot be looked at: File name too long" in warning


async def test_data_that_became_a_link_to_itself_is_described_anew(site: Site) -> None:
    site.table.unlink()
    site.table.symlink_to(site.table.name)
    site.next = ShardError("too many levels of symbolic links")
    await site.looks()
    assert (site.told, site.described) == ([DataProblem()], 1)


def test_a_folder_that_goes_while_it_is_looked_at_is_as_good_as_gone(site: Site) -> None:
    for name in ("a", "b"):
        (site.scans / name).mkdir()
        (site.scans / name / "one.npy").touch()
    found = filter(None, _walk(site.scans))
    assert next(found)[0].endswith("a/one.npy")
    rmtree(site.scans)
    assert list(found) == []


def test_a_big_tree_is_looked_at_only_so_far(site: Site) -> None:
    for number in range(30):
        (site.scans / f"{number:02d}").mkdir()
    (site.scans / "99.npy").touch()
    seen = {Path(path).name for path, _, _ in signature([site.shard], most=20)}
    assert "shard.yaml" in seen
    assert "99.npy" not in seen
    found = _walk(site.scans)
    next(found)
    (site.scans / "29" / "late.npy").touch()  # nobody has come there yet
    assert any(fact and fact[0].endswith("late.npy") for fact in found)


def test_a_link_into_its_own_folder_is_not_followed(site: Site) -> None:
    (site.scans / "round").symlink_to(site.scans)
    assert len(list(_walk(site.scans))) == 2
