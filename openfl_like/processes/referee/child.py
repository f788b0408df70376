"""The program of a referee: confines itself, and answers its Aggregator over the socket that it was given."""

import contextlib
import gc
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from openfl_like.module_scope import ModuleScope
from openfl_like.processes.referee.channel import Channel, ClosedError
from openfl_like.processes.referee.walls import put_up
from openfl_like.processes.worker import start_as_child

COMMAND = (sys.executable, "-P", "-B", "-m", "openfl_like.processes.referee.child")


def main(descriptor: int) -> None:
    """Answer until the Aggregator closes its end.

    Args:
        descriptor: Of the socket.
    """
    start_as_child()
    end = socket.socket(fileno=descriptor)
    end.set_inheritable(False)
    channel = Channel(end)
    with contextlib.suppress(ClosedError):
        order = channel.receive()
        workspace = Path(order["workspace"])
        from openfl_like.processes.referee.answering import Answerer  # noqa: PLC0415 (numpy, before memory is short)

        channel.send({"ready": asdict(put_up(workspace, order["memory_mb"]))})
        gc.freeze()
        with ModuleScope(workspace).active():
            Answerer(channel).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
