"""The process that performs runs: what becomes of one when nobody listens any more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openfl_like.studies.perform import perform
from openfl_like.studies.results import RunState
from openfl_like.studies.worker import order_line
from openfl_like.testing.stores import memory_stores
from tests.unit.studies.test_studies_perform import order_in


@pytest.mark.children
def test_a_run_whose_study_has_ended_has_not_failed(tmp_path: Path) -> None:
    order = order_in(tmp_path / "run")
    listener, told = os.pipe()
    command = [sys.executable, "-P", "-m", "openfl_like.cli.study.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told, stderr=subprocess.DEVNULL) as worker:
        os.close(listener)  # what a study that is killed leaves behind, for as long as its worker has not noticed
        os.close(told)
        worker.communicate(order_line(order))
    assert order.log.exists(), "the run was not begun"
    assert not (order.record.parent / "result.json").exists()
    assert perform(order, memory_stores(), lambda _: None).state is RunState.FINISHED
