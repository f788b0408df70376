"""Between an Aggregator and its referee: lines of JSON over a socket pair, and arrays in memory that both have."""

import fcntl
import json
import mmap
import os
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from openfl_like.peer_json import read_peer_json
from openfl_like.tensors.named import DTYPES, Array, dtype_name

MOST_BYTES = 8 << 20
"""Of what a referee says at once, without arrays."""
MOST_SHOWN_BYTES = 1 << 30
"""Of what it is shown."""
LEAST_MEMORY = 4 << 20
ALIGNED = 64
_HEAD = struct.Struct("!I")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class ClosedError(Exception):
    """The other side has closed its end."""


def aligned(size: int) -> int:
    """Return where the next array may begin."""
    return -(-size // ALIGNED) * ALIGNED


class Memory:
    """Memory that two processes have, of a size that neither can change: to read it never fails.

    Args:
        descriptor: Of a memory file, which is kept open by the mapping.
    """

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self._bytes = np.frombuffer(mmap.mmap(descriptor, self.size), np.uint8)
        self.end = 0

    def put(self, arrays: Sequence[Array], start: int = 0) -> list[list[Any]]:
        """Copy arrays in from a place on, and return what they are like.

        Raises:
            ValueError: If there is no room for them.
        """
        told, place = [], start
        for array in arrays:
            flat = np.ascontiguousarray(array)
            if place + flat.nbytes > self.size:
                raise ValueError(f"an array has {flat.nbytes:,} bytes, and {self.size - place:,} are left for it")
            self._bytes[place : place + flat.nbytes] = flat.reshape(-1).view(np.uint8)
            told.append([dtype_name(flat.dtype), list(flat.shape)])
            place = aligned(place + flat.nbytes)
        self.end = place
        return told

    def views(self, told: Sequence[Sequence[Any]], start: int = 0) -> list[Array]:
        """Return the arrays that lie there, in the memory that both have.

        Raises:
            ValueError: If that cannot be.
        """
        found, place = [], start
        for name, shape in told:
            if name not in DTYPES or any(type(size) is not int or size < 0 for size in shape):
                raise ValueError(f"there is no array {name}{shape}")
            dtype, count = DTYPES[name], 1
            for size in shape:
                count *= size
            end = place + count * dtype.itemsize
            if end > self.size:
                raise ValueError(f"an array of {count:,} elements is not within the memory")
            found.append(self._bytes[place:end].view(dtype).reshape(shape))
            place = aligned(end)
        self.end = place
        return found

    @staticmethod
    def made(size: int) -> tuple["Memory", int]:
        """Make memory of at least this size; return it with its descriptor."""
        descriptor = os.memfd_create("referee", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, max(LEAST_MEMORY, 1 << (size - 1).bit_length()))
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return Memory(descriptor), descriptor


class Channel:
    """One end of the socket pair.

    Args:
        end: The socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def close(self) -> None:
        """Close it."""
        self._end.close()

    def send(self, value: object, until: float | None = None) -> None:
        """Send a message.

        Raises:
            ClosedError: If nobody takes it any more.
            TimeoutError: If it is not taken in time.
        """
        data = json.dumps(value).encode()
        self._within(until)
        try:
            self._end.sendall(_HEAD.pack(len(data)) + data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ClosedError from error

    def receive(self, until: float | None = None, most_bytes: int = MOST_BYTES) -> Any:  # noqa: ANN401 (JSON)
        """Return the next message.

        Args:
            until: When it must be here, by the monotonic clock.
            most_bytes: How long it may be.

        Raises:
            ClosedError: If there is none any more.
            TimeoutError: If it does not come in time.
            ValueError: If it is too long, or no JSON.
        """
        (size,) = _HEAD.unpack(self._exactly(_HEAD.size, until))
        if size > most_bytes:
            raise ValueError(f"a message of {size:,} bytes, the limit is {most_bytes:,}")
        return read_peer_json(self._exactly(size, until), most_bytes)

    def send_memory(self, descriptor: int) -> None:
        """Hand over memory; raises ClosedError if nobody takes it any more."""
        try:
            socket.send_fds(self._end, [b"m"], [descriptor])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ClosedError from error

    def receive_memory(self) -> Memory:
        """Return the memory that was handed over."""
        data, descriptors, _, _ = socket.recv_fds(self._end, 1, 1)
        if not data or not descriptors:
            raise ClosedError
        try:
            return Memory(descriptors[0])
        finally:
            os.close(descriptors[0])

    def _exactly(self, size: int, until: float | None) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._within(until)
            try:
                part = self._end.recv(min(size - len(found), 1 << 20))
            except ConnectionResetError as error:
                raise ClosedError from error
            if not part:
                raise ClosedError
            found += part
        return bytes(found)

    def _within(self, until: float | None) -> None:
        if until is None:
            self._end.settimeout(None)
            return
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._end.settimeout(left)
