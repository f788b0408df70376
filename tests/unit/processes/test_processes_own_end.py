"""Submitted code that works in our own process cannot end it as if all were done."""

import os
import posix
import sys

import pytest

from openfl_like.processes.own_end import EndOfProcessError, ended_by_us_alone


def test_what_would_end_this_process_raises() -> None:
    with ended_by_us_alone():
        with pytest.raises(EndOfProcessError, match=r"os\._exit would have ended"):
            os._exit(0)
        with pytest.raises(EndOfProcessError, match=r"os\.execv would have ended"):
            os.execl(sys.executable, sys.executable, "-V")  # noqa: S606 (it is refused)
        with pytest.raises(EndOfProcessError, match=r"os\.execve would have ended"):
            os.execvpe(sys.executable, [sys.executable, "-V"], {})  # noqa: S606 (it is refused)
        with pytest.raises(EndOfProcessError, match=r"_exit would have ended"):
            posix._exit(0)


def test_afterwards_all_is_as_it_was() -> None:
    before = os._exit, os.execv, os.execve
    with ended_by_us_alone():
        pass
    assert before == (os._exit, os.execv, os.execve)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_may_end_as_it_likes() -> None:
    with ended_by_us_alone():
        if not (child := os.fork()):
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
