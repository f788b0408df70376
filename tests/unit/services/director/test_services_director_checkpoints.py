"""Checkpoints, from one Director to another: the same bytes in the end, damage refused, nothing taken twice."""

import asyncio
import json
import math
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from openfl_like.errors import (
    BundleError,
    ConflictError,
    FederationError,
    NotAllowedError,
    NotFoundError,
    StorageError,
    TensorError,
    UnauthenticatedError,
    UsageError,
)
from openfl_like.federation.announcements import ExperimentBegun, ExperimentImported, ExperimentResumed, only
from openfl_like.federation.ports import CheckpointOffer
from openfl_like.federation.status import Status
from openfl_like.pki.signing import sign_bundle, verify_submitter
from openfl_like.plan.bundles.archive import END
from openfl_like.services.director import checkpoints as service
from openfl_like.services.director.feed import record_of
from openfl_like.services.director.recovery import remove_leftovers
from openfl_like.store import checkpoint as archive_format
from openfl_like.store.checkpoint import read_checkpoint
from openfl_like.store.director_files import UNFINISHED, DirectorFiles
from openfl_like.store.ports import StoredExperiment
from openfl_like.store.sqlite.director import SqliteDirectorStore
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import Manifest, manifest_of
from openfl_like.testing.faults.checkpoint_moves import EXPERIMENT, PLAN, REQUEST, OfflineDirector, problems, run_rounds

Head = dict[str, Any]


def row(here: OfflineDirector) -> StoredExperiment:
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        return store.experiment(EXPERIMENT)


def shown(here: OfflineDirector) -> list[tuple[int, str, str]]:
    with closing(SQLITE.experiment(here.files)) as store:
        return [(item.version.round, item.version.digest, item.sha256) for item in store.versions()]


def resume(here: OfflineDirector) -> None:
    with closing(SQLITE.experiment(here.files)) as store:
        store.announce(3.0, ExperimentResumed("ada"))


# ---- what arrives


async def test_it_goes_on_there_to_the_bytes_of_the_undisturbed_run(
    director: Callable[[str], OfflineDirector], checkpoint: Path
) -> None:
    undisturbed, there = director("here"), director("there")
    await undisturbed.run()
    summary = await there.take(checkpoint)
    assert (summary.id, summary.status, summary.owner) == (EXPERIMENT, Status.CANCELLED, "ada")
    assert problems(there) == []
    resume(there)
    assert (await run_rounds(there.files.directory)).status is Status.FINISHED
    assert [item[:2] for item in shown(there)] == [item[:2] for item in shown(undisturbed)]
    assert shown(there)[-1] == shown(undisturbed)[-1]
    assert shown(there)[-1][2] != ""
    with closing(SQLITE.experiment(there.files)) as store:
        events = store.events()
    assert [begun.epoch for begun in only(events, ExperimentBegun)] == [1, 2]


async def test_the_record_says_which_models_can_be_fetched(director: Callable[[str], OfflineDirector]) -> None:
    here = director("here")
    await here.run()
    found, _ = record_of(SQLITE, here.files)
    assert [item.version.round for item in found if item.kept] == list(here.files.models())
    assert {item.kept for item in found} == {True, False}


async def test_who_imports_signs_and_owns_and_the_origin_is_told(
    director: Callable[[str], OfflineDirector], checkpoint: Path
) -> None:
    there = director("there")
    await there.take(checkpoint)
    stored = row(there)
    assert verify_submitter(stored.bundle, stored.signature, stored.certificates, there.user.trust).name == "ada"
    with closing(SQLITE.experiment(there.files)) as store:
        last = store.events()[-1]
    assert last.announcement == ExperimentImported("ada", "here", "ada")
    origin = json.loads((there.files.directory / "origin.json").read_bytes())["checkpoint"]["origin"]
    assert origin["federation"] == "here"
    assert origin["certificates"] != stored.certificates.decode()


async def test_the_same_experiment_gives_the_same_bytes_and_nothing_is_left(
    director: Callable[[str], OfflineDirector], tmp_path: Path
) -> None:
    here = director("here")
    await here.run(cancel_after=1)
    one, two = await here.export(tmp_path / "one.tar"), await here.export(tmp_path / "two.tar")
    assert one.read_bytes() == two.read_bytes()
    assert list((here.state / "outgoing").iterdir()) == []
    names = set(read_checkpoint(one).members)
    fixed = {"bundle.tar", "events.jsonl", "plan.json", "record.json"}
    models = {f"models/v{number:04d}.safetensors" for number in here.files.models()}
    assert names == fixed | models | {"models/v0001.state.safetensors"}


@pytest.mark.parametrize("finished", [True, False])
async def test_one_that_never_started_and_one_that_has_finished(
    director: Callable[[str], OfflineDirector], tmp_path: Path, *, finished: bool
) -> None:
    here, there = director("here"), director("there")
    await here.run(start=finished)
    summary = await there.take(await here.export(tmp_path / "checkpoint.tar"))
    assert summary.status is (Status.FINISHED if finished else Status.CANCELLED)
    assert shown(there) == shown(here)
    if not finished:
        resume(there)
        assert (await run_rounds(there.files.directory)).status is Status.FINISHED


async def test_it_can_go_on_to_a_third_director(
    director: Callable[[str], OfflineDirector], checkpoint: Path, tmp_path: Path
) -> None:
    there = director("there")
    await there.take(checkpoint)
    third = OfflineDirector(tmp_path / "third", there.director, there.user)
    (third.state / "incoming").mkdir(parents=True)
    await third.take(await there.export(tmp_path / "again.tar"))
    with closing(SQLITE.experiment(third.files)) as store:
        told = [imported.federation for imported in only(store.events(), ExperimentImported)]
    assert told == ["here", "there"]


# ---- once


async def test_the_same_request_is_answered_again_and_another_one_is_refused(
    director: Callable[[str], OfflineDirector], checkpoint: Path
) -> None:
    there = director("there")
    first = await there.take(checkpoint)
    assert await there.take(checkpoint) == first
    with pytest.raises(ConflictError, match=f"there is an experiment '{EXPERIMENT}' here already.*resume"):
        await there.take(checkpoint, "11ff11ff")
    assert problems(there) == []


async def test_a_request_that_is_repeated_while_it_is_worked_on_is_worked_on_once(
    director: Callable[[str], OfflineDirector], checkpoint: Path
) -> None:
    there = director("there")
    bundle = read_checkpoint(checkpoint).bundle
    offer = CheckpointOffer(REQUEST, manifest_of(checkpoint), bundle, sign_bundle(bundle, there.user), there.user.chain)
    with closing(SQLITE.director(DirectorFiles(there.state))) as store:
        gate = there.gate(store)
        shutil.copyfile(checkpoint, (await gate.expect_checkpoint(there.user.identity.uri, offer)).path)
        first, *others = await asyncio.gather(*(gate.take_checkpoint("ada", offer) for _ in range(3)))
        assert others == [first, first]
        assert (await gate.expect_checkpoint(there.user.identity.uri, offer)).complete
        assert await gate.take_checkpoint("ada", offer) == first
    assert problems(there) == []


class FullDisk(SqliteDirectorStore):
    """Has no room for another row."""

    def add(self, request_id: str, experiment: StoredExperiment) -> NoReturn:
        raise OSError(28, "No space left on device", f"{request_id} {experiment.summary.id}")


async def test_a_row_that_cannot_be_written_leaves_nothing(
    director: Callable[[str], OfflineDirector], checkpoint: Path
) -> None:
    there = director("there")
    with pytest.raises(StorageError):
        await replace(there, stores=replace(SQLITE, director=FullDisk)).take(checkpoint)
    assert list((there.state / "experiments").iterdir()) == []
    await there.take(checkpoint)
    assert problems(there) == []


async def test_a_directory_without_a_row_is_removed_at_the_next_start(
    director: Callable[[str], OfflineDirector], checkpoint: Path
) -> None:
    there = director("there")
    await there.take(checkpoint)
    mark = there.files.directory / UNFINISHED
    mark.touch()
    (there.state / "incoming" / "ada-00.checkpoint").touch()
    assert remove_leftovers(DirectorFiles(there.state), {EXPERIMENT}, SQLITE) == []
    assert (mark.exists(), problems(there)) == (False, [])
    mark.touch()
    assert remove_leftovers(DirectorFiles(there.state), set(), SQLITE) == [there.files.directory]
    assert not there.files.directory.exists()


# ---- refused at the way out


async def test_what_runs_is_not_exported(director: Callable[[str], OfflineDirector], tmp_path: Path) -> None:
    here = director("here")
    await here.run(cancel_after=1)
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        store.requeue(EXPERIMENT, "resumed by ada")
    with pytest.raises(ConflictError, match=f"is QUEUED; .*'fx experiment cancel {EXPERIMENT}'"):
        await here.export(tmp_path / "out.tar")


async def test_a_damaged_model_is_not_exported(director: Callable[[str], OfflineDirector], tmp_path: Path) -> None:
    here = director("here")
    await here.run(cancel_after=2)
    data = bytearray(here.files.model(2).read_bytes())
    data[-1] ^= 1
    here.files.model(2).write_bytes(data)
    with pytest.raises(ConflictError, match="the model of round 2 is not the one that its round made"):
        await here.export(tmp_path / "out.tar")
    here.files.model(2).unlink()
    with pytest.raises(ConflictError, match="the model of round 2 is missing"):
        await here.export(tmp_path / "out.tar")
    here.files.bundle.unlink()
    with pytest.raises(FederationError, match=r"bundle\.tar"):
        await here.export(tmp_path / "out.tar")
    assert list((here.state / "outgoing").iterdir()) == []


async def test_one_that_is_resumed_meanwhile_is_not_exported(
    director: Callable[[str], OfflineDirector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = director("here")
    await here.run(cancel_after=1)

    def slow(*_: object) -> None:
        with closing(SQLITE.director(DirectorFiles(here.state))) as store:
            store.requeue(EXPERIMENT, "resumed by ada")

    monkeypatch.setattr(service, "write_checkpoint", slow)
    with pytest.raises(ConflictError, match="was resumed while it was exported"):
        await here.export(tmp_path / "out.tar")


# ---- refused at the way in


async def test_who_may_not_is_refused_before_a_byte_is_taken(
    director: Callable[[str], OfflineDirector], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = director("here"), director("there")
    bundle = read_checkpoint(checkpoint).bundle
    good = CheckpointOffer(REQUEST, manifest_of(checkpoint), bundle, sign_bundle(bundle, there.user), there.user.chain)
    strange = replace(good, signature=sign_bundle(bundle, here.user), certificates=here.user.chain)
    huge = Manifest(100 << 30, 2 << 20, tuple(b"\0" * 32 for _ in range(51200)))
    with closing(SQLITE.director(DirectorFiles(there.state))) as store:
        gate = there.gate(store)
        ada = there.user.identity.uri
        cases: list[tuple[str, CheckpointOffer, type[FederationError]]] = [
            (ada.replace("ada", "bob"), good, NotAllowedError),
            (ada.replace("user", "admin"), good, NotAllowedError),
            (ada, replace(good, request_id="../up"), UsageError),
            (ada, replace(good, bundle="ab" * 32), UnauthenticatedError),
            (ada, strange, UnauthenticatedError),
            (ada, replace(good, manifest=huge), BundleError),
        ]
        for caller, offer, error in cases:
            with pytest.raises(error):
                await gate.expect_checkpoint(caller, offer)
        assert not (await gate.expect_checkpoint(there.user.identity.uri, good)).complete
        usage = shutil._ntuple_diskusage(1 << 40, 1 << 40, 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(StorageError, match="bytes at the director, 1 are free"):
            await gate.expect_checkpoint(there.user.identity.uri, good)
        with pytest.raises(NotFoundError):
            async with gate.exported("ghost"):
                raise AssertionError


def forged(checkpoint: Path, out: Path, change: Callable[[Path, Head], None]) -> Path:
    """A checkpoint with something else in it, and digests that fit again."""
    parts = out.with_suffix(".parts")
    found = read_checkpoint(checkpoint, parts)
    head: Head = {"summary": {}}
    change(parts, head)
    sources = {path: parts / path for path in sorted(found.members)}
    members = {path: archive_format._member(source) for path, source in sources.items()}
    changed = replace(found, summary=replace(found.summary, **head["summary"]), members=members)
    changed = replace(changed, bundle=members["bundle.tar"].digest)
    with out.open("wb") as file:
        archive_format._append(file, "checkpoint.json", archive_format._head(changed))
        for path, source in sources.items():
            archive_format._copy(file, path, source, members[path].size_bytes)
        file.write(END)
    return out


def rewritten(name: str, change: Callable[[Head], object]) -> Callable[[Path, Head], None]:
    def act(parts: Path, _: Head) -> None:
        values = json.loads((parts / name).read_bytes())
        change(values)
        (parts / name).write_bytes(archive_format._canonical(values) + b"\n")

    return act


def without_last_line(parts: Path, _: Head) -> None:
    lines = (parts / "events.jsonl").read_bytes().splitlines(keepends=True)
    (parts / "events.jsonl").write_bytes(b"".join(lines[:-1]))


def without_first_line(parts: Path, _: Head) -> None:
    lines = (parts / "events.jsonl").read_bytes().splitlines(keepends=True)
    (parts / "events.jsonl").write_bytes(b"".join(lines[1:]))


def with_event(event: Head) -> Callable[[Path, Head], None]:
    """Puts an event in the place of the first one."""

    def act(parts: Path, _: Head) -> None:
        lines = (parts / "events.jsonl").read_bytes().splitlines(keepends=True)
        values = {"sequence": 1, "time": 1.0, "fields": {}, **event}
        lines[0] = archive_format._canonical(values) + b"\n"
        (parts / "events.jsonl").write_bytes(b"".join(lines))

    return act


def other_plan(parts: Path, _: Head) -> None:
    text = (parts / "plan.json").read_text()
    (parts / "plan.json").write_text(text.replace('"seed":0', '"seed":1'))


def no_model(parts: Path, _: Head) -> None:
    (parts / "models" / "v0002.safetensors").write_bytes(b"\xff" * 64)


def no_state(parts: Path, _: Head) -> None:
    (parts / "models" / "v0001.state.safetensors").write_bytes(b"\xff" * 64)


def other_bundle(parts: Path, _: Head) -> None:
    (parts / "bundle.tar").write_bytes(b"x")


def says(**summary: object) -> Callable[[Path, Head], None]:
    return lambda _, head: head["summary"].update(summary)


FORGERIES: dict[str, tuple[Callable[[Path, Head], None], str]] = {
    "another id": (says(id="other-0123abcd"), "is not one of the plan 'moving'"),
    "an id that leaves the state": (says(id="../moving-0123abcd"), "is not one of the plan 'moving'"),
    "another plan's digest": (says(plan_digest="ab" * 32), "the plan is not the one"),
    "one that runs": (says(status=Status.RUNNING), "a checkpoint is of one that has ended"),
    "another end": (says(status=Status.FINISHED), "the history ends CANCELLED, the experiment is FINISHED"),
    "no end": (without_last_line, "the history ends never"),
    "a gap in the history": (without_first_line, "event 1 is missing"),
    "another plan": (other_plan, "the plan is not the one"),
    "a model that is none": (no_model, "the model of round 2 is not the one that its round made"),
    "a state that is none": (no_state, "the server's state of round 1 is not the one that its round left"),
    "a state of no round": (
        rewritten("record.json", lambda record: record["snapshot"]["server_states"].update({"9": "ab"})),
        "the server's state of a round that was not published",
    ),
    "a state that nobody named": (
        rewritten("record.json", lambda record: record["snapshot"]["server_states"].clear()),
        "the server's state of round 1 is not the one that its round left",
    ),
    "a lost round": (rewritten("record.json", lambda record: record["versions"].pop(1)), "have gaps"),
    "no state": (
        rewritten("record.json", lambda record: record["snapshot"].pop("experiment_id")),
        "cannot be read|snapshot",
    ),
    "another's state": (
        rewritten("record.json", lambda record: record["snapshot"].update(experiment_id="x")),
        "the snapshot is of 'x'",
    ),
    "rounds without a state": (
        rewritten("record.json", lambda record: record.update(snapshot=None)),
        "no snapshot|server's state",
    ),
    "another SHA-256": (
        rewritten("record.json", lambda record: record["versions"][2].update(sha256="ab" * 32)),
        "has another SHA-256 than its row",
    ),
    "a name with a bell in it": (says(owner="ada\a"), "is not a valid name"),
    "a time that no clock shows": (says(ended_at=float("inf")), "its times are out of range"),
    "an epoch that no database holds": (
        rewritten("record.json", lambda record: record.update(epoch=1 << 80)),
        "its epoch or its times are out of range",
    ),
    "an event without its fields": (with_event({"kind": "update_surplus"}), "does not have the fields of its kind"),
    "an event without a name": (with_event({"kind": "\x1b[2J"}), "has no name or no time"),
    "words for numbers": (rewritten("record.json", lambda record: record.update(epoch="one")), "no values"),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_what_fits_its_digests_and_not_itself_is_refused_and_leaves_nothing(
    director: Callable[[str], OfflineDirector], checkpoint: Path, tmp_path: Path, name: str
) -> None:
    change, words = FORGERIES[name]
    there = director("there")
    with pytest.raises((BundleError, TensorError), match=words):
        await there.take(forged(checkpoint, tmp_path / "forged.tar", change))
    assert list((there.state / "incoming").iterdir()) == []
    assert not (there.state / "experiments").exists()
    await there.take(checkpoint)
    assert PLAN.name == row(there).summary.name


async def test_a_metric_that_is_no_number_travels(
    director: Callable[[str], OfflineDirector], checkpoint: Path, tmp_path: Path
) -> None:
    there = director("there")
    change = rewritten("record.json", lambda record: record["versions"][1]["version"]["metrics"].update(loss=math.nan))
    await there.take(forged(checkpoint, tmp_path / "nan.tar", change))
    with closing(SQLITE.experiment(there.files)) as store:
        assert math.isnan(store.versions()[1].version.metrics["loss"])
    read_checkpoint(await there.export(tmp_path / "again.tar"))


async def test_another_bundle_than_was_signed_is_refused(
    director: Callable[[str], OfflineDirector], checkpoint: Path, tmp_path: Path
) -> None:
    there, other = director("there"), tmp_path / "other.tar"
    forged(checkpoint, other, other_bundle)
    bundle = read_checkpoint(checkpoint).bundle
    offer = CheckpointOffer(REQUEST, manifest_of(other), bundle, sign_bundle(bundle, there.user), there.user.chain)
    with closing(SQLITE.director(DirectorFiles(there.state))) as store:
        gate = there.gate(store)
        shutil.copyfile(other, (await gate.expect_checkpoint(there.user.identity.uri, offer)).path)
        with pytest.raises(BundleError, match="not the one that was signed for the import"):
            await gate.take_checkpoint("ada", offer)
