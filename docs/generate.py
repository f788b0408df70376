"""Writes the pages of the reference that are made from the code; ``python docs/generate.py``, or ``make golden``."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from openfl_like.authoring.plugins import REQUIRED, Plugin, plugins_of
from openfl_like.cli.main import fx
from openfl_like.doctor.finding import meaning_of
from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import FederationError
from openfl_like.failpoints import POINTS, Action

Function = ast.FunctionDef | ast.AsyncFunctionDef
ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
WIDTH = 100
INTRODUCTION = """# Commands

Made from the code by `make golden`; do not edit.

Results go to stdout, words for people to stderr. Exit codes are in the [list of errors](errors/index.md#exit-codes).

With `--json`, stdout is for programs and does not change without an entry in the changelog. It has exactly one line, a
document:

```text
{"ok": true, "data": …}
{"ok": false, "error": {"code": "E203", "name": "NotAllowedError", "message": …, "place": …, "cure": …,
 "exit_code": 3, "problems": […]}}
```

`problems` lists every mistake where there may be several, as in a plan. What misuses a command is `E100`, an
interruption `E000`. Commands that go on until something ends write a line of JSON for each thing that happens instead,
with a `kind` (`fx experiment logs`: with `source`, `role`, `position` and `lines`), and the document of their error as
the last line if they fail: `fx aggregator start`, `fx director start`, `fx envoy start`, `fx pki serve`, `fx demo`,
`fx simulate`, `fx study run`, `fx experiment watch`, `fx experiment logs`, and `submit`, `evaluate` and `resume` with
`--watch`. The exit code is the same with and without `--json`, and what is on stderr is for people.

| variable | stands for |
|---|---|
| `FX_DIRECTOR` | `--director` |
| `FX_CERTIFICATES` | `--certificates`, in the commands of a user |
| `FX_DEBUG` | `fx --debug`: debug messages, and tracebacks instead of one line |"""


PLUGINS = """# Plug-ins

Made from `openfl_like/registry.py` and the docstrings by `make golden`; do not edit.

What a plan, a settings file or a command names by a short name. A package that is installed can add names: it registers
them under the entry-point group of the kind. How to write one: [add a plug-in](../checklists/add-a-plug-in.md)."""
KINDS = {
    "task_runner": (
        "openfl_like.frameworks.runner:TaskRunner",
        "Holds the model and performs the tasks, at a site; `task_runner.template` in the plan, where it is usually a "
        "class of the workspace, as `module:attr`. See [frameworks](../frameworks.md).",
    ),
    "data_loader": (
        "openfl_like.frameworks.runner:DataLoader",
        "Turns a shard into batches; `data_loader.template` in the plan, or `module:attr`.",
    ),
    "algorithm": (
        "openfl_like.frameworks.algorithms.base:LocalAlgorithm",
        "What a site adds to its training loop, keeps and sends; `algorithm.template` in the plan, or `module:attr` of "
        "the workspace. See [algorithms](../algorithms.md).",
    ),
    "metric": (
        "openfl_like.frameworks.metrics.base:Metric",
        "What tasks measure; `tasks.*.metrics` in the plan, a list, or `module:attr` of the workspace. See "
        "[metrics](../evaluation.md#metrics).",
    ),
    "server_algorithm": (
        "openfl_like.aggregation.algorithms:ServerAlgorithm",
        "What is done at the Aggregator with what an algorithm sends; it has the name of the algorithm. See "
        "[algorithms](../algorithms.md#the-server-half).",
    ),
    "model_format": (
        "openfl_like.frameworks.formats.files:ModelFormat",
        "A kind of file that models are exported to and started from, by its suffix: `fx model export`, "
        "`--initial-model`.",
    ),
    "selector": (
        "openfl_like.federation.participation.selection:Selector",
        "Says who takes part in a round; `selector.template` in the plan.",
    ),
    "work": (
        "openfl_like.federation.participation.work:WorkPolicy",
        "Says how much each site trains in a round; `work.template` in the plan. See [work](../work.md).",
    ),
    "controller": (
        "openfl_like.federation.control.decision:Controller",
        "Changes the course of an experiment before a round; `controllers` in the plan, a list. See "
        "[controllers](../controllers.md).",
    ),
    "assigner": (
        "openfl_like.federation.participation.assignment:Assigner",
        "Says who is given which tasks; `assigner.template` in the plan. See [assigners](plan.md#assigners).",
    ),
    "validator": (
        "openfl_like.aggregation.validators:Validator",
        "Says what an update must pass before it counts; `validator` in the plan, a list.",
    ),
    "callback": (
        "openfl_like.events.callbacks.base:Callback",
        "Is told everything that happens, and writes files; `callbacks` in the plan, a list. See "
        "[callbacks](../callbacks.md).",
    ),
    "aggregation": (
        "openfl_like.aggregation.rules:AggregationRule",
        "Makes the next global model of updates; `aggregation.template` in the plan. See "
        "[aggregation](../aggregation.md).",
    ),
    "server_optimizer": (
        "openfl_like.aggregation.server_optimizers:ServerOptimizer",
        "Takes the step from the global model towards what the rule made of the updates; "
        "`server_optimizer.template` in the plan. See [aggregation](../aggregation.md#server-optimizers).",
    ),
    "compression": (
        "openfl_like.tensors.compression:Compression",
        "Makes updates smaller; `compression_pipeline.template` in the plan. See [compression](../compression.md).",
    ),
    "lossless": (
        "openfl_like.tensors.lossless:Lossless",
        "Makes them smaller still, without loss; `compression_pipeline.lossless.template` in the plan.",
    ),
    "shard": (
        "openfl_like.data.shard:ShardDescriptor",
        "Gives the data of a site; `template` in shard.yaml, or `module:attr`. See [data](../data.md).",
    ),
    "device_monitor": (
        "openfl_like.services.devices.monitors:DeviceMonitor",
        "Reads the state of a site's machine for heartbeats; `device_monitors` in shard.yaml, or `module:attr`. See "
        "[devices](../devices.md).",
    ),
    "runtime": (
        "openfl_like.runtimes.sites:RuntimeFactory",
        "Where the tasks of a simulation run; `fx simulate --runtime`. See [simulation](../simulation.md).",
    ),
    "partitioner": (
        "openfl_like.data.partition:Partitioner",
        "Deals a data set that is on one machine to sites; `simulation.sites.partitioner` in the plan, `deal` of the "
        "shard `part`, `partitioner` of `digits` and `breast_cancer`. See "
        "[simulation](../simulation.md#sites-from-one-data-set).",
    ),
    "generator": (
        "openfl_like.federation.devices.quantities:Generator",
        "A number of simulated devices; in the plan, wherever `simulation.devices` has a number or a generator. See "
        "[virtual time](../virtual-time.md).",
    ),
    "availability": (
        "openfl_like.federation.devices.availability:Availability",
        "When simulated devices are there; `simulation.devices.availability` in the plan.",
    ),
}
"""Kind -> its Protocol, and what it is for."""
PYTHON = """# Python

Made from the docstrings by `make golden`; do not edit.

What `fx` does for a user can be done from Python; what a plug-in implements, what runners offer and what tests may use
is here, too. The errors have [pages of their own](errors/index.md)."""
PYTHON_MODULES = {
    "Federation": (
        "api.federation", "api.client", "api.experiments", "api.checkpoints", "api.evaluations", "api.explanation",
        "api.overview",
    ),
    "Shards": ("data.shard",),
    "Task runners": (
        "frameworks.runner", "frameworks.torch", "frameworks.keras", "frameworks.sklearn", "frameworks.jax",
        "frameworks.numpy", "frameworks.contract",
    ),
    "Algorithms": ("frameworks.algorithms.base",),
    "Tests": ("testing.federation", "testing.director", "testing.performers", "testing.stores", "testing.gate"),
}  # fmt: skip
"""Heading -> modules below `openfl_like`; the sources are read, not imported."""


def commands() -> Iterator[tuple[str, str]]:
    """Gives every command of ``fx`` with its help, parents first."""
    yield from _walk(fx, "fx", None)


def _walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    settings = command.context_settings if parent is None else {}
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH, **settings
    )
    yield context.command_path, command.get_help(context) + "\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                yield from _walk(found, inner, context)


def commands_page() -> str:
    """Gives the page of all commands."""
    parts = [INTRODUCTION]
    for path, text in commands():
        parts += [f"## {path}", f"```text\n{text.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def error_page(kind: type[FederationError]) -> str:
    """Gives the page of an error code."""
    summary, cause, cure = meaning_of(kind)
    meaning = MEANINGS[kind]
    shown = "its message" if meaning.public else "only its code; the message stays in the log of the other side"
    return f"""# {kind.code} {kind.__name__}

{_linked(summary)}

**Why it happens.** {_linked(cause)}

**What to do.** {_linked(cure)}

| exit code of `fx` | gRPC status | HTTP status | what a peer is shown |
|---|---|---|---|
| {meaning.exit_code} | `{meaning.grpc_status}` | {meaning.http_status} | {shown} |

[All errors](index.md)
"""


def errors_page() -> str:
    """Gives the list of all error codes."""
    rows = "\n".join(
        f"| [{kind.code}]({kind.code}.md) | {kind.__name__} | {meaning_of(kind)[0]} |"
        for kind in sorted(MEANINGS, key=lambda kind: kind.code)
    )
    codes = sorted({meaning.exit_code for meaning in MEANINGS.values()})
    exits = "\n".join(f"| {code} | {_with_exit(code)} |" for code in codes)
    return f"""# Errors

Made from `openfl_like/errors.py` by `make golden`; do not edit.

A command that fails prints one line, `Error [CODE]: where: what (what to do)`, and ends with the exit code of the
table on the page of its code. The codes never change their meaning.

| code | error | meaning |
|---|---|---|
{rows}

## Exit codes

What they mean in words is in [operations](../../operations.md#exit-codes).

| exit code of `fx` | errors |
|---|---|
| 0 | none |
{exits}
| 130 | none: Ctrl-C |
| 141 | none: nobody reads the output any more |
"""


def _with_exit(code: int) -> str:
    """Names the errors that end a command with an exit code."""
    kinds = sorted(kind.code for kind, meaning in MEANINGS.items() if meaning.exit_code == code)
    return ", ".join(f"[{name}]({name}.md)" for name in kinds)


def _linked(text: str) -> str:
    """Turns the code marks of docstrings into those of Markdown, and names of pages into links."""
    marked = text.replace("``", "`")
    return re.sub(r"docs/reference/(\w+)\.md", r"[\1](../\1.md)", marked)


def failpoints_page() -> str:
    """Gives the list of all failpoints."""
    actions = re.findall(r"^ {4}([A-Z_]+): (.+)", inspect.getdoc(Action) or "", re.MULTILINE)
    what = "\n".join(f"| `{Action[name].value}` | {text} |" for name, text in actions)
    rows = "\n".join(f"| `{name}` | {text} |" for name, text in POINTS.items())
    return f"""# Failpoints

Made from `openfl_like/failpoints.py` by `make golden`; do not edit. What they are for, and how a switch is written:
[faults](../faults.md#failpoints).

| action | what happens |
|---|---|
{what}

The first word of a point is the process that runs into it, or the package that several processes use.

| point | what is true there |
|---|---|
{rows}
"""


def plugins_page() -> str:
    """Gives the page of everything that a plan or a settings file can name by a short name."""
    parts = [PLUGINS]
    for kind, (protocol, text) in KINDS.items():
        parts.append(f"## {kind}\n\n{text} Protocol: `{protocol}`; entry-point group `openfl_like.{kind}`.")
        own = [plugin for plugin in plugins_of(kind) if not plugin.package]
        parts += [f"### {kind}: {plugin.name}\n\n`{plugin.source}`\n\n{_about(plugin)}" for plugin in own]
    return "\n\n".join(parts) + "\n"


def _about(plugin: Plugin) -> str:
    """Gives what a plug-in says of itself, its settings as a table."""
    parts = [plugin.text.replace("``", "`")]
    rows = [
        f"| `{setting.name}` | {_shown_default(setting.default)} | {setting.meaning.replace('``', '`')} |"
        for setting in plugin.settings
    ]
    if rows:
        parts.append("\n".join(["| setting | default | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _shown_default(default: str) -> str:
    if default == "none":
        return default
    return f"`{default}`" if default not in {"", REQUIRED} else default or "-"


def python_page() -> str:
    """Gives the page of the modules that people import."""
    parts = [PYTHON]
    for title, modules in PYTHON_MODULES.items():
        parts.append(f"## {title}")
        for name in modules:
            source = ROOT / "openfl_like" / Path(*name.split(".")).with_suffix(".py")
            module = ast.parse(source.read_text(encoding="utf-8"))
            parts.append(f"### openfl_like.{name}\n\n{_described(ast.get_docstring(module) or '')}")
            for node in module.body:
                if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
                    parts += _documented(node)
    return "\n\n".join(parts) + "\n"


def _documented(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Gives a function, or a class with its methods."""
    if isinstance(node, Function):
        yield f"#### {_signature(node)}\n\n{_described(ast.get_docstring(node) or '')}"
        return
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield f"#### class {node.name}{f'({bases})' if bases else ''}\n\n{_described(ast.get_docstring(node) or '')}"
    for inner in node.body:
        text = ast.get_docstring(inner) if isinstance(inner, Function) else None
        if text and isinstance(inner, Function) and not inner.name.startswith("_"):
            yield f"##### {node.name}.{_signature(inner)}\n\n{_described(text)}"


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Gives a name with its parameters, their types left out: the docstring has what matters of them."""
    if any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list):
        return node.name
    words = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    first = len(words) - len(node.args.defaults)
    words = [f"{word}=…" if place >= first else word for place, word in enumerate(words)]
    words = words[1:] if words[:1] in (["self"], ["cls"]) else words
    if node.args.kwonlyargs:
        given = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        words += ["*", *(item.arg if default is None else f"{item.arg}=…" for item, default in given)]
    waits = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{waits}{node.name}({', '.join(words)})".replace("*", "\\*")


def _described(docstring: str) -> str:
    """Gives a docstring as Markdown, with everything that is in it."""
    titles = "Args|Attributes|Raises|Returns|Yields|Example"
    text, *sections = re.split(rf"^({titles}):\n", inspect.cleandoc(docstring), flags=re.MULTILINE)
    parts = [text.strip().replace("``", "`")]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        entries = re.findall(r"^ {4}(\w+): ((?:.|\n(?! {4}\w|\S))+)", body, re.MULTILINE)
        if title == "Example":
            parts.append(f"```text\n{inspect.cleandoc(body)}\n```")
        elif title in {"Returns", "Yields"} or not entries:
            parts.append(f"{title}: {' '.join(body.replace('``', '`').split())}")
        else:
            rows = [f"- `{name}`: {' '.join(words.replace('``', '`').split())}" for name, words in entries]
            parts.append("\n".join([f"{title}:", "", *rows]))
    return "\n\n".join(parts)


def pages() -> dict[Path, str]:
    """Gives every page that is made from the code: path -> text."""
    errors = REFERENCE / "errors"
    found = {errors / f"{kind.code}.md": error_page(kind) for kind in MEANINGS}
    own = {
        "cli.md": commands_page(),
        "failpoints.md": failpoints_page(),
        "errors/index.md": errors_page(),
        "plugins.md": plugins_page(),
        "python.md": python_page(),
    }
    return {**{REFERENCE / name: text for name, text in own.items()}, **found}


def main() -> None:
    """Writes the pages, and removes those of errors that are no more."""
    wanted = pages()
    for path in (REFERENCE / "errors").glob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
