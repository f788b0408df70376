"""Options that several commands share."""

import errno
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


class WrittenPath(click.Path):
    """A path in which ``~`` and ``$HOME`` mean the home directory, where no shell has replaced them before."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 (click's signature)
        """Read it like the paths of our files."""
        from openfl_like.plan.paths import written_path

        if value == "":  # an empty variable of a shell: it would be the present folder
            self.fail("the path is empty", param, ctx)
        try:
            return super().convert(written_path(value) if isinstance(value, str) else value, param, ctx)
        except ValueError as error:
            self.fail(f"'{value}': {error}", param, ctx)


class WrittenAddress(click.types.StringParamType):
    """``HOST:PORT``.

    Args:
        least_port: 0 where any free port may be asked for.
        port: What is told where it is missing.
    """

    def __init__(self, least_port: int = 1, port: int = 50050) -> None:
        self._least_port, self._port = least_port, port

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 (click's signature)
        """Check it, or say what was probably meant."""
        from openfl_like.plan.address import checked_address

        try:
            return checked_address(str(value), self._least_port, self._port)
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = WrittenAddress()
FILE = WrittenPath(dir_okay=False, path_type=Path)
FOLDER = WrittenPath(file_okay=False, path_type=Path)
PLACE = WrittenPath(path_type=Path)
"""A file or a folder."""
DEFAULT_DIRECTOR = "localhost:50050"
HELP = {"help_option_names": ["-h", "--help"]}


def complete_templates(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a workspace template."""
    from openfl_like.plan.workspace import templates

    return [name for name in templates() if name.startswith(incomplete)]


def complete_plans(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete a plan: a file, or the name of a ready-made one."""
    from click.shell_completion import CompletionItem

    from openfl_like.plan.workspace import installed_plans

    names = [CompletionItem(name) for name in installed_plans() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def _where(command: Command) -> Command:
    return click.option(
        "-d",
        "--director",
        default=DEFAULT_DIRECTOR,
        show_default=True,
        envvar="FX_DIRECTOR",
        type=ADDRESS,
        help="HOST:PORT of it.",
    )(command)


def director_options(command: Command) -> Command:
    """Add where the Director is and who we are: ``director`` and ``certificates``."""
    who = click.option(
        "--certificates", type=FOLDER, envvar="FX_CERTIFICATES", help="Folder of your certificate and key.",
    )  # fmt: skip
    return _where(who(command))


def site_options(command: Command) -> Command:
    """Add what an Envoy needs to know: ``shard_configs``, ``name``, ``director`` and ``certificates``."""
    shard = click.option(
        "-sc",
        "--shard-config",
        "shard_configs",
        type=FILE,
        multiple=True,
        default=(Path("shard.yaml"),),
        show_default="shard.yaml",
        help="The site's data; may be given again, for each data interface.",
    )
    name = click.option("-n", "--name", required=True, help="The site's name, as in its certificate.")
    who = click.option(
        "--certificates", type=FOLDER, help="Folder of its certificate and key.  [default: certs/envoy/NAME]"
    )
    return shard(name(_where(who(command))))


def overrides_option(command: Command) -> Command:
    """Add ``-s section.key=value`` as ``overrides``."""
    return click.option(
        "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one value of the plan."
    )(command)


class _TagText(click.types.StringParamType):
    """A word by which an experiment is found again."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 (click's signature)
        """Check it, before a plan is read."""
        import re

        from openfl_like.plan.names import TAG_PATTERN

        if not re.fullmatch(TAG_PATTERN, value):
            rule = "1 to 63 letters, digits, '.', '_', '=', '+' and '-', beginning with a letter or digit"
            self.fail(f"'{value[:100]}' is not a tag, which is {rule}", param, ctx)
        return str(value)


def tags_option(text: str) -> Callable[[Command], Command]:
    """Add ``--tag`` as ``tags``."""
    return click.option("--tag", "tags", type=_TagText(), multiple=True, metavar="TAG", help=text)


def with_tags(overrides: tuple[str, ...], tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the overrides of a plan that has these tags; without any, it keeps its own."""
    import json

    return (*overrides, f"tags={json.dumps(list(dict.fromkeys(tags)))}") if tags else overrides


def initial_model_option(command: Command) -> Command:
    """Add ``--initial-model FILE`` as ``initial_model``."""
    return click.option(
        "--initial-model", type=FILE, metavar="FILE",
        help="Start from this model: .safetensors, .npz, .pt or .keras; it is converted here.",
    )(command)  # fmt: skip


def dry_run_options(command: Command) -> Command:
    """Add ``--dry-run`` and ``--limit SECONDS`` as ``dry`` and ``limit_s``."""
    dry = click.option("--dry-run", "dry", is_flag=True, help="Try the plan on invented data, and do nothing else.")
    limit = click.option(
        "--limit", "limit_s", type=click.FloatRange(min=1), metavar="SECONDS",
        help="With --dry-run: how long the code may take for one thing.  [default: 60]",
    )  # fmt: skip
    return dry(limit(command))


DRY_RUN_GOES_BY = frozenset({"dry", "limit_s", "plan_file", "plan", "shards", "initial_model", "overrides", "as_json"})


def check_dry_run(*, dry: bool, limit_s: float | None, also: Collection[str] = ()) -> None:
    """Refuse options that would be ignored: those that a dry run does not go by, and a limit without one.

    Args:
        dry: Whether there is to be one.
        limit_s: The limit that was given.
        also: Parameters of this command that a dry run goes by besides the usual ones.

    Raises:
        UsageError: If there are any.
    """
    from click.core import ParameterSource

    from openfl_like.errors import UsageError

    context = click.get_current_context()
    others = [option for option in context.command.params if option.name not in {*DRY_RUN_GOES_BY, *also}]
    given = [
        one.opts[-1] for one in others if context.get_parameter_source(one.name or "") is ParameterSource.COMMANDLINE
    ]
    if dry and given:
        raise UsageError(f"a dry run does not go by {', '.join(given)}", cure="leave that out, or --dry-run")
    if limit_s is not None and not dry:
        raise UsageError("--limit is for dry runs", cure="add --dry-run, or leave it out")


_TRIAL_BYTES = 4096


def check_output(path: Path | None) -> None:
    """Say before the work, not after it, that a file cannot be written there; raises UsageError."""
    from openfl_like.errors import UsageError

    if path is None:
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} to write {path.name} to", cure="make it first")
    if path.is_dir():
        raise UsageError("it is a folder", place=str(path), cure="name a file")
    try:
        _try_to_write(path, folder)
    except OSError as error:
        raise UsageError(
            f"the file cannot be written: {error.strerror}", place=str(path), cure="name another place"
        ) from error


OTHER_FORMATS = frozenset({".npz", ".npy", ".pt", ".pth", ".bin", ".ckpt", ".keras", ".h5", ".onnx", ".pkl"})
"""Suffixes of models that are not safetensors."""


def check_model_output(path: Path | None) -> None:
    """Do the same as `check_output` for a model, which is safetensors; raises UsageError."""
    from openfl_like.errors import UsageError

    if path is not None and path.suffix in OTHER_FORMATS:
        raise UsageError(
            f"the model is written as safetensors, which is not what {path.suffix} says",
            place=str(path),
            cure=f"name it {path.with_suffix('.safetensors').name}, then: fx model export FILE -o {path.name}",
        )
    check_output(path)


def _try_to_write(path: Path, folder: Path) -> None:
    """Write a little where the file will be, and take it away again; what is there stays as it is."""
    import os
    import tempfile

    if path.exists() and not path.is_file():
        return  # a pipe or a device: whoever reads it must not get the trial
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with tempfile.TemporaryFile(dir=folder) as trial:
        trial.write(bytes(_TRIAL_BYTES))


def write_file(path: Path, data: bytes) -> None:
    """Write a file; raises UsageError if that cannot be done."""
    from openfl_like.errors import UsageError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"the file cannot be written: {error.strerror}", place=str(path)) from error


def named_files(texts: tuple[str, ...], option: str) -> dict[str, Path]:
    """Read ``NAME=FILE``, given several times; raises UsageError if one is something else, or a name is there twice."""
    from openfl_like.errors import UsageError

    named: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise UsageError(f"'{text}' is not NAME=FILE", cure=f"for example {option} site-1=shards/site-1.yaml")
        if name in named:
            raise UsageError(f"{option}: '{name}' is there twice", cure="give each a name of its own")
        named[name] = FILE.convert(file, None, None)
    return named


def own_certificates(given: Path | None, role: str) -> Path:
    """Return the named folder, or the only one below ``certs/<role>``.

    Raises:
        UsageError: If there is none or more than one to choose from.
    """
    from openfl_like.errors import UsageError

    if given is not None:
        return given
    found = sorted(path for path in Path("certs", role).glob("*") if path.is_dir())
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise UsageError(
        f"which certificate? there are {names} below certs/{role}",
        cure=f"name it with --certificates; 'fx pki issue {role} NAME' makes one",
    )
