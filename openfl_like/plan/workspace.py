"""Workspace templates and ready-made plans, from the installed package or from a checkout."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from openfl_like.errors import ConflictError, NotFoundError, UsageError
from openfl_like.plan.mistakes import did_you_mean
from openfl_like.plan.names import NAME_PATTERN

_PACKAGE = Path(__file__).resolve().parent.parent
_PLANS = "plans"
_STUDIES = "plans/studies"
_TEMPLATES = "workspace_templates"
EXAMPLE = "shard.yaml"
SHARDS = "shards"
_EXAMPLE_TEXT = """\
# An example of what a site writes about its own data; it stays at the site: fx envoy start -n {site} -sc shard.yaml
# Keys: docs/reference/settings.md. For 'fx simulate', the sites are those of shards/.
"""


def templates() -> list[str]:
    """Names of the workspace templates, sorted."""
    return sorted(path.name for path in _entries(_TEMPLATES) if path.is_dir())


def template_path(name: str) -> Path:
    """The directory of a template.

    Raises:
        NotFoundError: If there is none of that name.
    """
    return _find(name, templates(), "workspace template", _folder(_TEMPLATES) / name)


def template_about(name: str) -> str:
    """What a template is, in a sentence: the first line of its plan, which is a comment.

    Raises:
        NotFoundError: If there is none of that name.
    """
    with (template_path(name) / "plan.yaml").open(encoding="utf-8") as plan:
        return plan.readline().removeprefix("#").strip()


def installed_plans() -> list[str]:
    """Names of the ready-made plans, sorted."""
    return sorted(path.stem for path in _entries(_PLANS) if path.suffix == ".yaml")


def plan_path(name: str) -> Path:
    """The file of a ready-made plan.

    Raises:
        NotFoundError: If there is none of that name.
    """
    return _find(name, installed_plans(), "ready-made plan", _folder(_PLANS) / f"{name}.yaml")


def find_plan(named: str) -> Path:
    """The file that a user means: a path, or the name of a ready-made plan.

    Raises:
        NotFoundError: If there is neither.
    """
    path = Path(named)
    looks_like_path = path.suffix in {".yaml", ".yml"} or len(path.parts) > 1
    return path if path.exists() or looks_like_path else plan_path(named)


def installed_studies() -> list[str]:
    """Names of the ready-made studies, sorted."""
    return sorted(path.stem for path in _entries(_STUDIES) if path.suffix == ".yaml")


def find_study(named: str) -> Path:
    """The file that a user means: a path, or the name of a ready-made study.

    Raises:
        NotFoundError: If there is neither.
    """
    path = Path(named)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1 or path.is_file():
        return path
    return _find(named, installed_studies(), "ready-made study", _folder(_STUDIES) / f"{named}.yaml")


def create_workspace(target: Path, template: str) -> Path:
    """Copy a template into a new directory, or into an empty one, with an example of a site's ``shard.yaml``.

    Raises:
        NotFoundError: If there is no such template.
        ConflictError: If something is there already, or the directory cannot be written.
    """
    origin = template_path(template)
    try:
        if target.exists() and any(target.iterdir()):
            raise ConflictError("the directory is not empty", place=str(target), cure="name another one")
        shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), dirs_exist_ok=True)
        _write_example(target)
    except OSError as error:
        raise ConflictError(f"the workspace cannot be written: {error.strerror or error}", place=str(target)) from error
    return target


def shards_in(workspace: Path) -> dict[str, Path]:
    """Find the simulated sites of a workspace: ``shards/<site>.yaml``, or ``.yml``; sorted by name.

    Raises:
        UsageError: If a file is called as no site can be, or two files are for one site, or one is not a regular file.
    """
    folder = workspace / SHARDS
    files = sorted(path for path in folder.glob("*") if path.suffix in {".yaml", ".yml"} and path.name[0] != ".")
    found: dict[str, Path] = {}
    for path in files:
        check_site_name(path.stem, str(path))
        if path.stem in found:
            cure = f"keep either {found[path.stem].name} or {path.name}"
            raise UsageError(f"two files are for the site '{path.stem}'", place=str(folder), cure=cure)
        if path.exists() and not path.is_file():  # to read a pipe would be to wait for whoever writes
            raise UsageError(
                "this is not a regular file", place=str(path), cure="put the site's shard.yaml in its place"
            )
        found[path.stem] = path
    return dict(sorted(found.items()))


def check_site_name(name: str, place: str = "") -> None:
    """Refuse what no site can be called, because no certificate may be for such a name.

    Raises:
        UsageError: With the rule.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        cure = "use 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or digit"
        raise UsageError(f"no site can be called '{name}'", place=place, cure=cure)


def _write_example(workspace: Path) -> None:
    """Write what an Envoy is started with, made from the first of the simulated sites."""
    first = next(iter(shards_in(workspace).values()), None)
    if first is not None and not (workspace / EXAMPLE).exists():
        text = _EXAMPLE_TEXT.format(site=first.stem) + first.read_text(encoding="utf-8")
        (workspace / EXAMPLE).write_text(text, encoding="utf-8")


def _folder(kind: str) -> Path:
    shipped = _PACKAGE / "_shipped" / kind  # written by setup.py into the wheel
    return shipped if shipped.is_dir() else _PACKAGE.parent / kind


def _entries(kind: str) -> Iterable[Path]:
    folder = _folder(kind)
    return [path for path in folder.iterdir() if path.name[0] not in "._"] if folder.is_dir() else []


def _find(name: str, known: list[str], what: str, path: Path) -> Path:
    if name not in known:
        raise NotFoundError(f"there is no {what} named '{name}'", cure=did_you_mean(name, known))
    return path
