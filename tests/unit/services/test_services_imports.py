"""What daemons load: a process of each is started for every experiment, or at every restart."""

import subprocess
import sys

import pytest

ARRAYS = ("numpy", "ml_dtypes")
DATABASE = ("sqlalchemy",)


@pytest.mark.parametrize(
    ("daemon", "unwanted"),
    [("director", ARRAYS), ("envoy", ARRAYS + DATABASE), ("collaborator", ARRAYS + DATABASE)],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.children
def test_a_daemon_that_holds_no_tensors_does_not_load_what_they_need(daemon: str, unwanted: tuple[str, ...]) -> None:
    program = (
        f"import sys, openfl_like.services.{daemon}; print([name for name in {unwanted!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
