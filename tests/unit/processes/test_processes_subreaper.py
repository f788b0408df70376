import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.children,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to us"),
]

# In a process of its own: what has once asked for orphans gets them for the rest of its life.
STARTED_BEFORE = """
import asyncio, os, sys
from openfl_like.processes.child import spawn
from openfl_like.processes.subreaper import SUBREAPER

async def main():
    before = await spawn([sys.executable, "-c", "input()"])
    SUBREAPER.open()
    script = "import os, signal; child = os.fork(); child or (os.setsid(), signal.pause()); print(child)"
    after = await spawn([sys.executable, "-c", script])
    orphan = int(await after.line())
    await after.wait()
    print(before.process.returncode, os.path.exists(f"/proc/{orphan}"))
    await before.stop(grace_s=0.0)

asyncio.run(main())
"""


def test_an_orphan_is_ended_and_a_child_that_was_started_before_orphans_were_asked_for_is_not() -> None:
    command = [sys.executable, "-c", STARTED_BEFORE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["None", "False"]
    assert "left behind" in done.stderr


AT_HAND = """
import asyncio, os, sys
from openfl_like.processes.child import spawn
from openfl_like.processes.standby import Standby
from openfl_like.processes.subreaper import SUBREAPER

async def main():
    SUBREAPER.open()
    script = "import os, signal; os.fork() or (os.setsid(), print(os.getpid(), flush=True)); signal.pause()"
    child = await spawn([sys.executable, "-c", script])
    orphan = int(await child.line())
    standby = Standby("collaborator")
    standby._spare = asyncio.create_task(asyncio.sleep(0, child))
    await standby.close()
    print(os.path.exists(f"/proc/{orphan}"))

asyncio.run(main())
"""


def test_the_worker_of_a_child_at_hand_goes_with_it_and_nobody_is_warned_of_it() -> None:
    command = [sys.executable, "-c", AT_HAND]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
