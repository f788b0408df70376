"""The ``fx`` command: its nouns, and the only place where the process ends with an exit code."""

import contextlib
import gc
import importlib
import logging
import os
import sys
import time
from pathlib import Path

import click

from openfl_like import __version__
from openfl_like.cli.options import HELP
from openfl_like.cli.output.colours import BAD
from openfl_like.cli.output.console import emit_failure, say
from openfl_like.cli.output.failure import INTERRUPTED, failure_of, line_of
from openfl_like.printable import printable

NOUNS = {
    "aggregator": "Run the Aggregator of one experiment by hand.",
    "collaborator": "Take part in one experiment by hand.",
    "completion": "Print the script that completes words in your shell.",
    "demo": "Run a whole federation on this machine.",
    "director": "Run the central node.",
    "doctor": "Look for what would go wrong, before it does.",
    "envoy": "Run a site's standing presence, or list them.",
    "experiment": "Submit experiments, follow and end them.",
    "health": "Say whether the daemons of a folder are alive.",
    "model": "Export models to files of other programs.",
    "pki": "Make, enrol, renew and revoke certificates.",
    "plan": "Check, show, compare and measure plans.",
    "status": "Look at the whole federation.",
    "simulate": "Run a plan with all its sites on this machine.",
    "study": "Run many simulations of a plan, and compare them.",
    "worker": "Work for a simulation on another host.",
    "workspace": "Make a workspace from a template, pass one on.",
}
PACKAGES = frozenset({"demo", "experiment", "pki", "study"})
"""Nouns whose commands need more than one module: they are in the package's `commands`."""

THREADS_S = 5.0
"""How long threads are waited for that go on when a command is done."""

COLLECT = (10_000, 20, 20)
"""When garbage is collected: with Python's numbers that takes a fifth of the time of the imports, and finds nothing."""


class _Printable(logging.Formatter):
    """What is logged may quote what others wrote; times have their zone."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 (logging's signature)
        """Tell the machine's own time, as in ``2026-01-31 09:05:00.250+01:00``."""
        from datetime import UTC, datetime

        return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(" ", "milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class Nouns(click.Group):
    """Loads a noun's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Names of the nouns."""
        return sorted(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """The command group of a noun."""
        if cmd_name not in NOUNS:
            return None
        module = f"openfl_like.cli.{cmd_name}{'.commands' if cmd_name in PACKAGES else ''}"
        command = getattr(importlib.import_module(module), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        """List the nouns without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(NOUNS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a misspelt one gets a suggestion."""
        if args and args[0] not in NOUNS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], NOUNS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(sorted(NOUNS))}."
            ctx.fail(f"There is no command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Nouns, context_settings=HELP)
@click.version_option(__version__, prog_name="fx")
@click.option("--debug", is_flag=True, envvar="FX_DEBUG", help="Show tracebacks and debug messages.")
@click.pass_context
def fx(ctx: click.Context, *, debug: bool) -> None:
    """Train models on data that never leaves its sites.

    Example: fx demo
    """
    ctx.obj = debug
    level = logging.DEBUG if debug else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for name in ("grpc", "asyncio", "alembic", "sqlalchemy", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _fail(error: BaseException, *, as_json: bool) -> int:
    """Tell of a failure and return the exit code."""
    failure = failure_of(error)
    if isinstance(error, click.ClickException):
        error.show()
    elif failure.exit_code != INTERRUPTED:
        first, *problems = line_of(failure).split("\n")
        say(first, style=BAD, hang=2)
        if problems:
            say("\n".join(problems), hang=4)
    if as_json:
        from dataclasses import asdict

        emit_failure(asdict(failure))
    return failure.exit_code


def main() -> None:
    """Run ``fx`` and end the process."""
    gc.set_threshold(*COLLECT)
    _open_streams()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    debug = "--debug" in sys.argv or bool(os.environ.get("FX_DEBUG"))
    as_json = "--json" in sys.argv
    try:
        result = fx.main(prog_name="fx", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except BrokenPipeError:
        sys.stderr.close()
        code = 141
    except (Exception, KeyboardInterrupt) as error:
        if debug and not isinstance(error, KeyboardInterrupt):
            if not as_json:
                raise
            logging.getLogger(__name__).debug("the command failed", exc_info=error)
        code = _fail(error, as_json=as_json)
    gc.freeze()  # or all that was imported is looked through once more at the end
    _leave_threads(code)
    raise SystemExit(code)


def _open_streams() -> None:
    """Give standard streams that were closed a place, as every program expects them: nothing is read, all is lost."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 (it is open to the end)


def _leave_threads(code: int) -> None:
    """End the process if threads go on that submitted code has started: Python would wait for them without end."""
    import threading

    until = time.monotonic() + THREADS_S
    ours = {threading.main_thread(), threading.current_thread()}
    others = [thread for thread in threading.enumerate() if thread not in ours and not thread.daemon]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
