"""In the referee: models and numbers that are asked for while a part is asked something."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from openfl_like.errors import UpdateRefusedError
from openfl_like.processes.referee import values
from openfl_like.processes.referee.channel import Channel, Memory
from openfl_like.tensors.named import Array

PULLED_ELEMENTS = 1 << 18
"""So many elements come at once."""


class PulledNumbers:
    """Asks the Aggregator back.

    Args:
        channel: To it.
        memory: That both have.
        place: Where answers come to, beyond what the part was given.
    """

    def __init__(self, channel: Channel, memory: Memory | None, place: int) -> None:
        self._channel, self._memory, self._place = channel, memory, place

    def told(self, name: str) -> Array:
        """Return what updates tell in a tensor of the algorithm's own; see `Told`."""
        return self._pull(["told", name])

    def elements(self, source: str, name: str, start: int, stop: int) -> Array:
        """Return some elements of a tensor."""
        return self._pull([source, name, start, stop])

    def _pull(self, what: list[object]) -> Array:
        self._channel.send({"pull": what})
        answer = self._channel.receive()
        if "refused" in answer:
            raise UpdateRefusedError(*answer["refused"][:1], cure=answer["refused"][1])
        assert self._memory is not None  # noqa: S101 (whoever is asked something has been given memory)
        (found,) = self._memory.views(answer["arrays"], self._place)
        return found.copy()


class PulledElements:
    """The elements of a tensor in a row: see `tensors.named.Elements`."""

    def __init__(self, asked: PulledNumbers, source: str, name: str, size: int) -> None:
        self._asked, self._source, self._name, self._size = asked, source, name, size

    @property
    def size(self) -> int:
        """How many there are."""
        return self._size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> Array:
        """Return a part of them."""
        start, stop, step = part.indices(self._size)
        if step != 1:
            raise ValueError("only elements that follow each other can be asked for")
        places = range(start, stop, PULLED_ELEMENTS) or [start]
        pieces = [
            self._asked.elements(self._source, self._name, at, max(at, min(at + PULLED_ELEMENTS, stop)))
            for at in places
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


class PulledModel:
    """A model at the Aggregator: see `tensors.encoded.ModelReader`.

    Args:
        asked: Asks for it.
        source: ``update`` or ``base``.
        schema: Its tensors, as `values.schema_to` writes them.
    """

    def __init__(self, asked: PulledNumbers, source: str, schema: Any) -> None:  # noqa: ANN401 (JSON)
        self._asked, self._source = asked, source
        self.schema = values.schema_from(schema)
        self._specs = {spec.name: spec for spec in self.schema}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its tensors, sorted."""
        return tuple(self._specs)

    def flat(self, name: str) -> PulledElements:
        """Return a tensor's elements."""
        return PulledElements(self._asked, self._source, name, self._specs[name].size)

    def tensor(self, name: str) -> Array:
        """Return a whole tensor."""
        return self.flat(name)[:].reshape(self._specs[name].shape)

    def release(self, parts: Sequence[object]) -> None:
        """Do nothing: what was asked for is this process's own."""

    def close(self) -> None:
        """Do nothing: the Aggregator does it."""
