"""No unit test reaches a network or waits: one that tries fails, wherever in the call tree it does."""

import importlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

_INTERNET = {socket.AF_INET, socket.AF_INET6, -1}  # -1 is the default and means AF_INET; asyncio's own pair is AF_UNIX


def _guarded(original: Callable[..., None]) -> Callable[..., None]:
    def opened(self: socket.socket, family: int = -1, *arguments: object, **named: object) -> None:
        if family in _INTERNET and named.get("fileno") is None and len(arguments) < 3:
            pytest.fail("a unit test opened an internet socket; use openfl_like.testing.sessions")
        original(self, family, *arguments, **named)

    return opened


def _asleep(seconds: float) -> None:
    if sys._getframe(1).f_globals.get("__name__") == "subprocess":  # how it waits for a child that has just ended
        return
    pytest.fail(f"a unit test slept for {seconds} s; use openfl_like.testing.clock")


def _no_child(*_: object, **__: object) -> None:
    pytest.fail("a unit test started a process; mark it with pytest.mark.children, or test without one")


@pytest.fixture(autouse=True)
def neither_network_nor_sleep(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("tensorflow"):
        importlib.import_module("openfl_like.frameworks.keras")  # something it imports tries whether there is IPv6
    monkeypatch.setattr(socket.socket, "__init__", _guarded(socket.socket.__init__))
    monkeypatch.setattr(time, "sleep", _asleep)
    if request.node.get_closest_marker("children") is None:
        monkeypatch.setattr(subprocess.Popen, "__init__", _no_child)
