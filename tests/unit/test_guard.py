"""The guard of the unit tests guards."""

import asyncio
import socket
import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_internet_socket_fails_the_test(family: socket.AddressFamily) -> None:
    with pytest.raises(pytest.fail.Exception, match="internet socket"):
        socket.socket(family)


def test_the_default_family_is_the_internet() -> None:
    with pytest.raises(pytest.fail.Exception, match="internet socket"):
        socket.socket()


def test_sleep_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"slept for 0\.1 s"):
        time.sleep(0.1)


def test_an_event_loop_may_be_used() -> None:
    asyncio.run(asyncio.sleep(0))


def test_a_child_process_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match="started a process"):
        subprocess.run([sys.executable, "-c", "print(1)"], check=True)


@pytest.mark.children
def test_a_child_process_may_be_used_by_a_test_that_says_so() -> None:
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, timeout=30, check=True).stdout
