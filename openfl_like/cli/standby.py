"""A process that has the imports of an ``fx`` command behind it and waits for the arguments to run it with.

It is started by `processes.standby.Standby` and is given one line on its standard input: the arguments, as a JSON list.
"""

import gc
import json
import os
import sys
from importlib import import_module

from openfl_like.cli.main import COLLECT, main
from openfl_like.processes.parent_death import die_with_parent

SHARED = ("openfl_like.cli.plan_file", "openfl_like.plan.load", "openfl_like.services.daemon.run")
AHEAD = {
    "aggregator": ("openfl_like.services.aggregator.service", *SHARED),
    "collaborator": ("openfl_like.services.collaborator", *SHARED),
}


def arguments() -> list[str]:
    """Wait for the arguments; none when the parent has gone.

    It reads past Python's own buffer: what may follow on standard input is for the command.
    """
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            return []
        line += part
    return [str(argument) for argument in json.loads(line)]


def wait(noun: str, warm_up: str | None = None) -> None:
    """Import what the command needs, wait, and run it.

    Args:
        noun: The command.
        warm_up: What a spare worker does meanwhile, see `WarmUp`; None: there is none.
    """
    gc.set_threshold(*COLLECT)
    for name in (f"openfl_like.cli.{noun}", *AHEAD.get(noun, ())):
        import_module(name)
    if warm_up is not None:
        from openfl_like.processes.ownership import MARK
        from openfl_like.processes.spare_worker import SPARE_WORKER, WarmUp

        SPARE_WORKER.start(WarmUp.read(warm_up), {MARK: os.environ.get(MARK, "")})
    if words := arguments():
        sys.argv = ["fx", noun, *words]
        main()


if __name__ == "__main__":
    die_with_parent()
    wait(*sys.argv[1:])
