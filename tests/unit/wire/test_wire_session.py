"""A collaborator's session: small files go with its messages, large ones by calls of their own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import FederationError, ModelTooLargeError, RoundClosedError, TransferError, UpdateRefusedError
from openfl_like.federation.parties import Validity
from openfl_like.federation.ports import (
    AggregatorInstruction,
    CollaboratorReport,
    Dismissal,
    FileWithManifest,
    Ready,
    UploadTarget,
)
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.pki.roles import Identity, Role
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import Manifest, manifest_of
from openfl_like.wire.aggregator import AggregatorServicer, CollaboratorSession
from openfl_like.wire.server import Call

BERN = Identity("test", Role.COLLABORATOR, "bern", "digits-1")
SMALL, LARGE = 100, 100_000  # float32 elements: one chunk, two chunks


class Pipe:
    """One direction of a stream."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(self, frame: bytes) -> None:
        self.frames.put_nowait(frame)

    async def receive(self) -> bytes | None:
        return await self.frames.get()


@dataclass
class FakeStream:
    """A session's stream, as the collaborator sees it."""

    up: Pipe
    down: Pipe

    async def read(self) -> bytes | None:
        return await self.down.receive()

    async def write(self, frame: bytes) -> None:
        await self.up.send(frame)


@dataclass
class LargeFileCalls:
    """The calls that large files take."""

    uploads: list[Update] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)

    async def upload(self, update: Update, _path: Path, _manifest: Manifest) -> None:
        self.uploads.append(update)

    async def download(self, digest: str, _path: Path, _recyclable: Path, admit: Callable[[int], None]) -> None:
        admit(4 * LARGE)
        self.downloads.append(digest)


@dataclass
class FakePort:
    """An Aggregator with one model and a spool; it instructs as it is told and remembers what it took."""

    directory: Path
    instructions: asyncio.Queue[AggregatorInstruction] = field(default_factory=asyncio.Queue)
    committed: list[Update] = field(default_factory=list)
    reports: list[CollaboratorReport] = field(default_factory=list)
    refusal: FederationError | None = None
    committing: int = 0
    complete: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def participate(
        self,
        _caller: str,
        reports: AsyncIterator[CollaboratorReport],
        send: Callable[[AggregatorInstruction], Awaitable[None]],
        _certificate: Validity | None = None,
    ) -> None:
        async def listen() -> None:
            async for report in reports:
                self.reports.append(report)

        listening = asyncio.create_task(listen())
        while True:
            instruction = await self.instructions.get()
            await send(instruction)
            if isinstance(instruction, Dismissal):
                listening.cancel()
                return

    async def model_file(self, _caller: str, _digest: str) -> FileWithManifest:
        path = self.directory / "model"
        return FileWithManifest(path, manifest_of(path))

    async def expect_update(self, update: Update, _manifest: Manifest) -> UploadTarget:
        if self.refusal is not None:
            raise self.refusal
        return UploadTarget(self.directory / "spool" / update.collaborator, complete=self.complete)

    async def commit_update(self, update: Update, content: bytes | None = None) -> None:
        assert content is None or Manifest.of_content(content).digest == update.digest
        self.committing += 1
        assert self.committing == 1, "two uploads hold the same place in the spool"
        await self.gate.wait()
        self.committing -= 1
        self.committed.append(update)


class Session:
    """Both ends, connected."""

    def __init__(self, directory: Path) -> None:
        up, down = Pipe(), Pipe()
        self.directory = directory
        self.port = FakePort(directory)
        self.client = LargeFileCalls()
        self.up = up
        self.collaborator = CollaboratorSession(self.client, FakeStream(up, down), "bern")  # type: ignore[arg-type] # fakes
        servicer = AggregatorServicer(self.port, self.port)  # type: ignore[arg-type] # a fake with the methods that are called
        self._tasks = [
            asyncio.create_task(servicer.participate(Call(BERN, up.receive, down.send))),
            asyncio.create_task(self.collaborator.write()),
        ]

    def assign(self, elements: int) -> Assignment:
        """Has the Aggregator assign work on a model of this size."""
        model = write_tensors(self.directory / "model", {"w": np.arange(elements, dtype=np.float32)}, sync=False)
        assignment = Assignment(1, Phase.TRAIN, "bern", (), model.digest, 7, continues=3)
        self.port.instructions.put_nowait(assignment)
        return assignment

    def update(self, elements: int) -> tuple[Update, Path]:
        """Makes an update of this size."""
        path = self.directory / "update"
        manifest = write_tensors(path, {"w": np.ones(elements, np.float32)}, sync=False)
        return Update(1, Phase.TRAIN, "bern", manifest.digest, 3, {"train": {"loss": 0.5}}), path

    async def listen(self) -> list[AggregatorInstruction]:
        """Reads instructions until the session is dismissed; receipts are taken on the way."""
        found: list[AggregatorInstruction] = []
        while (instruction := await self.collaborator.instruction()) is not None:
            found.append(instruction)
            if isinstance(instruction, Dismissal):
                break
        return found

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    opened = Session(tmp_path)
    yield opened
    opened.close()


async def test_a_small_model_comes_with_its_assignment(session: Session, tmp_path: Path) -> None:
    assignment = session.assign(SMALL)
    assert await session.collaborator.instruction() == assignment
    target = tmp_path / "models" / "here"
    await session.collaborator.model(assignment.model, target, tmp_path / "spare", lambda _: None)
    assert target.read_bytes() == (tmp_path / "model").read_bytes()
    assert target.stat().st_mode & 0o077 == 0
    assert session.client.downloads == []


async def test_a_large_model_is_fetched(session: Session, tmp_path: Path) -> None:
    assignment = session.assign(LARGE)
    assert await session.collaborator.instruction() == assignment
    await session.collaborator.model(assignment.model, tmp_path / "here", tmp_path / "spare", lambda _: None)
    assert session.client.downloads == [assignment.model]


@pytest.mark.parametrize("elements", [SMALL, LARGE])
async def test_a_model_that_is_not_admitted_is_not_stored(session: Session, tmp_path: Path, elements: int) -> None:
    def admit(offered_bytes: int) -> None:
        raise ModelTooLargeError(f"{offered_bytes} bytes are too many")

    assignment = session.assign(elements)
    assert await session.collaborator.instruction() == assignment
    with pytest.raises(ModelTooLargeError, match="bytes are too many"):
        await session.collaborator.model(assignment.model, tmp_path / "here", tmp_path / "spare", admit)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert session.client.downloads == []


async def test_an_older_model_than_the_one_that_came_is_fetched(session: Session, tmp_path: Path) -> None:
    session.assign(SMALL)
    await session.collaborator.instruction()
    await session.collaborator.model("ab" * 32, tmp_path / "here", tmp_path / "spare", lambda _: None)
    assert session.client.downloads == ["ab" * 32]


async def test_a_model_that_is_not_the_assigned_one_is_refused(session: Session) -> None:
    good = session.assign(SMALL)
    wrong = Assignment(2, Phase.TRAIN, "bern", (), "cd" * 32, 7)
    session.port.instructions.put_nowait(wrong)
    assert await session.collaborator.instruction() == good
    with pytest.raises(TransferError, match="is for the model cdcdcdcdcdcd, it came with"):
        await session.collaborator.instruction()


async def test_a_small_update_goes_along_and_is_receipted(session: Session, tmp_path: Path) -> None:
    update, path = session.update(SMALL)
    listening = asyncio.create_task(session.listen())
    await session.collaborator.deliver(update, path)
    assert session.port.committed == [update]
    assert (tmp_path / "spool" / "bern").read_bytes() == path.read_bytes()
    session.collaborator.report(Ready("digest"))
    session.port.instructions.put_nowait(Dismissal("FINISHED", ""))
    assert await listening == [Dismissal("FINISHED", "")]
    assert session.client.uploads == []


async def test_a_second_delivery_waits_for_the_first(session: Session) -> None:
    update, path = session.update(SMALL)
    session.port.gate.clear()
    servicer, content = AggregatorServicer(session.port, session.port), path.read_bytes()  # type: ignore[arg-type] # as above
    twice = [asyncio.create_task(servicer._receipt(update, content)) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert session.port.committing == 1
    session.port.gate.set()
    first, second = await asyncio.gather(*twice)
    assert first == second
    assert session.port.committed == [update, update]
    assert servicer._receiving == {}, "nothing is remembered of updates that are here"


async def test_an_update_that_is_here_already_is_receipted_again_and_not_written(
    session: Session, tmp_path: Path
) -> None:
    update, path = session.update(SMALL)
    session.port.complete = True
    listening = asyncio.create_task(session.listen())
    await session.collaborator.deliver(update, path)
    assert session.port.committed == []
    assert not (tmp_path / "spool").exists()
    listening.cancel()


async def test_a_large_update_is_uploaded(session: Session) -> None:
    update, path = session.update(LARGE)
    await session.collaborator.deliver(update, path)
    assert session.client.uploads == [update]


@pytest.mark.parametrize("refusal", [RoundClosedError("round 1 is over"), UpdateRefusedError("it is too large")])
async def test_a_refused_update_raises_what_an_upload_would(session: Session, refusal: FederationError) -> None:
    session.port.refusal = refusal
    update, path = session.update(SMALL)
    listening = asyncio.create_task(session.listen())
    with pytest.raises(type(refusal), match=refusal.message):
        await session.collaborator.deliver(update, path)
    assert session.port.committed == []
    listening.cancel()


async def test_a_file_that_is_not_the_promised_one_is_refused(session: Session, tmp_path: Path) -> None:
    update, path = session.update(SMALL)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    listening = asyncio.create_task(session.listen())
    with pytest.raises(UpdateRefusedError, match="is not that of its file"):
        await session.collaborator.deliver(update, path)
    assert not (tmp_path / "spool").exists()
    listening.cancel()


async def test_a_session_goes_on_after_a_refusal(session: Session) -> None:
    session.port.refusal = RoundClosedError("round 1 is over")
    update, path = session.update(SMALL)
    listening = asyncio.create_task(session.listen())
    with pytest.raises(RoundClosedError):
        await session.collaborator.deliver(update, path)
    session.port.refusal = None
    await session.collaborator.deliver(update, path)
    assert session.port.committed == [update]
    session.port.instructions.put_nowait(Dismissal("FINISHED", ""))
    assert await listening == [Dismissal("FINISHED", "")]
