"""A model that is made while its updates are still arriving: each stretch as soon as all of them have it.

It is a guess at what will be asked for: that every update that is expected arrives, and counts. Nothing but a temporary
file exists until somebody asks for just that, and whoever guessed wrong lets it go and combines as usual, to the same
bits.
"""

import logging
import os
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np

from openfl_like.aggregation.combining import Sources
from openfl_like.aggregation.engine import (
    USUAL_SIZES,
    Combined,
    Making,
    Output,
    Recipe,
    SpanWorker,
    Start,
    UpdateFile,
    check_factors,
    contributors_of,
)
from openfl_like.aggregation.spans import Executor
from openfl_like.aggregation.steps import Contributors, Linear
from openfl_like.errors import TensorError
from openfl_like.federation.task import Update
from openfl_like.tensors.chunked import STRETCH_BYTES, ChunkedWriter
from openfl_like.tensors.container import Part
from openfl_like.tensors.layout import Place, plan_layout
from openfl_like.tensors.manifest import Manifest, chunk_size
from openfl_like.tensors.named import Array, Schema

log = logging.getLogger(__name__)
MOST_SITES = 8
"""With more of them few arrive at the same time, and what is left to be done at the end is nearly all."""
_READING = os.O_RDONLY | os.O_CLOEXEC
SPANS_AT_ONCE = 2
"""So many stretches a thread makes before it goes on to receive; what is left over is made at the end."""


@dataclass(slots=True)
class _Arriving:
    """One update: what of its file is not here yet.

    Attributes:
        update: What its site says of it.
        path: Where its file will be.
        part: Where it is until it is complete.
        missing: Its chunks that are not there; None: that is not known yet.
    """

    update: Update
    path: Path
    part: Path
    missing: set[int] | None = None

    def has(self, chunks: range) -> bool:
        """Whether these chunks are here."""
        return self.missing is not None and self.missing.isdisjoint(chunks)

    def open(self) -> int:
        """Return a descriptor of the file, as far as it is here."""
        try:
            return os.open(self.part, _READING)
        except FileNotFoundError:
            return os.open(self.path, _READING)


@dataclass(frozen=True, slots=True)
class _Vector:
    """Elements in a file that may still grow; a map of it would be a crash if somebody made it shorter."""

    descriptor: int
    place: Place

    @property
    def size(self) -> int:
        return self.place.spec.size

    def __getitem__(self, part: slice, /) -> Array:
        start, stop, _ = part.indices(self.size)
        dtype = self.place.spec.numpy_dtype
        found = np.empty(stop - start, dtype)
        offset = self.place.offset + start * dtype.itemsize
        if os.preadv(self.descriptor, [found.view(np.uint8).data], offset) != found.nbytes:
            raise TensorError(f"tensor '{self.place.spec.name}' became shorter while it was read")
        return found


@dataclass(frozen=True, slots=True)
class _PartFile:
    """A model file of a known layout, as far as it is here."""

    descriptor: int
    schema: Schema
    places: dict[str, Place]

    def flat(self, name: str) -> _Vector:
        return _Vector(self.descriptor, self.places[name])

    def tensor(self, name: str) -> Array:
        return self.flat(name)[:].reshape(self.places[name].spec.shape)

    def release(self, parts: Sequence[Part]) -> None:
        """Nothing of it is in this process's memory."""

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass(slots=True)
class _Open:
    """The model's file and what it is made of."""

    making: Making
    writer: ChunkedWriter
    idle: list[SpanWorker] = field(default_factory=list)

    def close(self) -> None:
        for source in self.making.sources.updates:
            source.close()


class ArrivingModel:
    """The model of a round, if all updates arrive that are expected, and all of them count.

    It is for rules that add the updates up: then a number in one of them that is not finite is one in the model, so
    that who has looked at the model has looked at all of them.

    Args:
        recipe: How updates are combined.
        round_number: Of which round.
        schema: Tensors of the model that the updates started from; theirs are the same, or the guess was wrong.
        names: Whose updates are expected.
        out: Where the model will be.
    """

    def __init__(self, recipe: Recipe, round_number: int, schema: Schema, names: Iterable[str], out: Output) -> None:
        self.round = round_number
        self._recipe, self._schema, self._names, self._out = recipe, schema, frozenset(names), out
        self._header, places = plan_layout(schema)
        self._places = {place.spec.name: place for place in places}
        self._total = len(self._header) + sum(spec.size_bytes for spec in schema)
        self._chunk_bytes = chunk_size(self._total)
        self._each = max(1, STRETCH_BYTES // self._chunk_bytes)
        self._unmade = -(-self._total // (self._each * self._chunk_bytes))
        self._lock = Lock()
        self._arriving: dict[str, _Arriving] = {}
        self._awaited = [len(self._names)] * self._unmade
        self._ready: deque[int] = deque()
        self._open: _Open | None = None
        self._busy = 0
        self._dropped = not 1 <= len(self._names) <= MOST_SITES or recipe.needs_base or bool(recipe.slots)

    @property
    def dropped(self) -> bool:
        """Whether nothing will come of it."""
        return self._dropped

    def expects(self, update: Update) -> bool:
        """Whether an update is one of those that it is made of."""
        known = self._arriving.get(update.collaborator)
        return not self._dropped and known is not None and known.update.digest == update.digest

    def is_of(self, updates: Sequence[Update]) -> bool:
        """Whether it is made of just these updates."""
        return len(updates) == len(self._names) and all(
            self.expects(update) and self._arriving[update.collaborator].update.num_samples == update.num_samples
            for update in updates
        )

    def announce(self, update: Update, manifest: Manifest, path: Path) -> None:
        """Take it that an update begins to arrive, or goes on to; another one in its place ends the guess.

        Args:
            update: Which one.
            manifest: Of its file.
            path: Where that will be.
        """
        former = self._arriving.get(update.collaborator)
        fits = update.collaborator in self._names and update.num_samples > 0 and self._fits(manifest)
        if not fits or (former is not None and former.update.digest != update.digest):
            self.drop()
            return
        with self._lock:
            if former is None:
                self._arriving[update.collaborator] = _Arriving(update, path, path)

    def _fits(self, manifest: Manifest) -> bool:
        """Whether a file has the size and the chunks of the model; a peer may say anything of its own."""
        return manifest.total_bytes == self._total and manifest.chunk_bytes == self._chunk_bytes

    def begin(self, collaborator: str, part: Path, missing: Collection[int]) -> None:
        """Take it that all but these chunks of an announced update are in a file."""
        with self._lock:
            if self._dropped:
                return
            known = self._arriving[collaborator]
            known.part, before, known.missing = part, known.missing, set(missing)
            if before is not None and not known.missing <= before:  # what was there is not there any more
                self._dropped = True
                self._clear()
                return
            for span in range(len(self._awaited)):  # after a transfer that broke, some were counted before
                chunks = self._chunks_of(span)
                if known.has(chunks) and (before is None or not before.isdisjoint(chunks)):
                    self._has(span)

    def placed(self, collaborator: str, index: int) -> None:
        """Take it that a chunk is here and is the promised one, and make what can be made now; on any thread."""
        with self._lock:
            if self._dropped:
                return
            known = self._arriving[collaborator]
            if known.missing is not None and index in known.missing:  # two transfers may bring the same chunk
                known.missing.remove(index)
                if known.has(self._chunks_of(index // self._each)):
                    self._has(index // self._each)
        self._work(SPANS_AT_ONCE)

    def _chunks_of(self, span: int) -> range:
        return range(span * self._each, (span + 1) * self._each)

    def _has(self, span: int) -> None:
        self._awaited[span] -= 1
        if not self._awaited[span]:
            self._ready.append(span)

    def complete(self, executor: Executor) -> bool:
        """Make what is left; return whether the whole model is made, and all its numbers are finite."""
        if any(self._awaited):
            self.drop()
        executor(lambda: self._work(None), len(self._ready))
        return not self._dropped and not self._unmade

    def finish(self) -> Combined | None:
        """Give the complete model its name; None: it was let go, or is not complete."""
        with self._lock:
            if self._dropped or self._unmade or self._open is None:
                return None
            opened, self._open, self._dropped = self._open, None, True
        opened.close()
        opened.writer.__exit__(None, None, None)
        return Combined(opened.writer.manifest())

    def drop(self) -> None:
        """Let it go; what is being made at this moment is made to its end."""
        with self._lock:
            self._dropped = True
            self._clear()

    def _clear(self) -> None:
        """Remove the file when nobody works on it any more; the lock is held."""
        if self._dropped and not self._busy and self._open is not None:
            opened, self._open = self._open, None
            opened.close()
            opened.writer.abort()

    def _work(self, most: int | None) -> None:
        """Make stretches that all updates have, up to so many."""
        made = 0
        while most is None or made < most:
            with self._lock:
                if self._dropped or not self._ready or not (self._open or self._begin_file()):
                    return
                opened, span = self._open, self._ready.popleft()
                assert opened is not None  # noqa: S101 (opened just now)
                worker = opened.idle.pop() if opened.idle else SpanWorker(opened.making, None)
                self._busy += 1
            failed = True
            try:
                worker.make(opened.writer, span)
                failed = False
            except Exception as error:  # noqa: BLE001 (the transfer goes on; whoever combines as usual tells of it)
                log.info("round %d is not combined while its updates arrive: %s", self.round, error)
            finally:
                with self._lock:
                    self._busy -= 1
                    self._unmade -= not failed
                    self._dropped |= failed
                    opened.idle.append(worker)
                    self._clear()
            made += 1

    def _begin_file(self) -> bool:
        """Open all files; a stretch that all updates have is the first or not, so their headers may not be here."""
        everybody = [known for _, known in sorted(self._arriving.items())]
        if not all(known.has(self._chunks_of(0)) for known in everybody):
            return False
        files: list[_PartFile] = []
        try:
            for known in everybody:
                files.append(_PartFile(known.open(), self._schema, self._places))
                self._check_header(files[-1])
            contributions = [UpdateFile(one.update.collaborator, one.path, one.update.num_samples) for one in everybody]
            contributors = contributors_of(contributions, Start(self.round))
            step = self._first_step(contributors)
            writer = ChunkedWriter(
                self._out.model, self._schema, sync=False, recyclable=self._out.recyclable, span_bytes=STRETCH_BYTES
            )
        except Exception as error:  # noqa: BLE001 (it may be a rule's; the transfer goes on, and combining as usual tells)
            log.debug("round %d is not combined while its updates arrive: %s", self.round, error)
            self._dropped = True
            for file in files:
                file.close()
            return False
        self._open = _Open(Making(self._recipe, step, Sources(files), contributors, USUAL_SIZES), writer)
        return True

    def _check_header(self, file: _PartFile) -> None:
        if os.pread(file.descriptor, len(self._header), 0) != self._header:
            raise TensorError("the layout of an update is not that of the global model")

    def _first_step(self, contributors: Contributors) -> Linear:
        step = self._recipe.begin(contributors)
        if not isinstance(step, Linear) or step.base or not (step.factors > 0).all():
            raise TensorError("the rule needs to see whole updates")
        check_factors(step, len(contributors.names))
        return step
