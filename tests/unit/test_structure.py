"""What no linter holds: sizes, names, docstrings, tables that must be complete, files that must be fresh."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import openfl_like

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(openfl_like.__file__).parent
PROTOS = PACKAGE / "wire" / "protos"
LONGEST_FILE = 500
MOST_PROTOCOL_METHODS = 5
MOST_METHODS = 15  # as many as the blocking client has, which a script finds everything in
MEANINGLESS = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "core"}

SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if not path.stem.endswith("_pb2"))
ALL = sorted(
    path
    for folder in ("openfl_like", "tests", "benchmarks", "workspace_templates")
    for path in (ROOT / folder).rglob("*.py")
    if not path.stem.endswith("_pb2")
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 50
    assert len(ALL) > len(SOURCES) + 20


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in ALL}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


SMALL_ROOMS = ("services", "wire", "testing")


def test_no_room_is_too_full_to_be_taken_in_at_a_glance() -> None:
    rooms = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    limits = {
        room: 16 if room.relative_to(PACKAGE).parts[:1][0] in SMALL_ROOMS else 24 for room in rooms if room != PACKAGE
    }
    assert {name_of(room): rooms[room] for room, limit in limits.items() if rooms[room] > limit} == {}


def _classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]


def test_no_class_name_stands_twice() -> None:
    names = Counter(node.name for path in SOURCES for node in _classes(path))
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_a_protocol_can_be_implemented_in_one_sitting() -> None:
    counts = {
        f"{name_of(path)}:{node.name}": sum(
            isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body
        )
        for path in SOURCES
        for node in _classes(path)
        if any("Protocol" in ast.dump(base) for base in node.bases)
    }
    assert len(counts) > 10
    assert {name: count for name, count in counts.items() if count > MOST_PROTOCOL_METHODS} == {}


def test_only_one_module_makes_tasks() -> None:
    makers = {
        name_of(path)
        for path in SOURCES
        if any(
            isinstance(node, ast.Attribute) and node.attr in {"create_task", "ensure_future"}
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert makers == {"openfl_like/tasks.py"}


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_libraries_that_nobody_imports_yet_will_have_one_place() -> None:
    """The linter's contracts name importers of what is there; these are not there yet."""
    importers = {
        (library, path.relative_to(PACKAGE).parts[0])
        for path in SOURCES
        for library in _imported(path) & {"ray", "mpi4py"}
    }
    assert importers <= {("ray", "runtimes"), ("mpi4py", "runtimes")}


def test_whoever_may_import_a_vendors_library_is_there() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {
        name
        for contract in contracts
        for key in ("allowed_importers", "source_modules")
        for name in contract.get(key, ())
    }
    assert len(named) > 5
    assert {name for name in named if importlib.util.find_spec(name) is None} == set()


# What SQLite is told, and where its files are.
_SQLITE = re.compile(r"\b(?:PRAGMA|OR REPLACE|OR IGNORE|SELECT .* FROM|sqlite3|DIRECTOR_DB|EXPERIMENT_DB)\b")


def test_only_its_room_knows_sqlite() -> None:
    room = PACKAGE / "store" / "sqlite"
    assert sum(bool(_SQLITE.search(path.read_text())) for path in room.glob("*.py")) >= 4
    for_people = PACKAGE / "events" / "callbacks" / "tables.py"  # a file that is fetched, and no record of ours
    outside = [path for path in SOURCES if not path.is_relative_to(room) and path != for_people]
    assert [name_of(path) for path in outside if _SQLITE.search(path.read_text())] == []


_OWN_JSON = {
    "authoring/requirements.py": "pip's report of this machine",
    "cli/plan.py": "our own frozen plan",
    "cli/standby.py": "our parent's order",
    "data/files/femnist.py": "the site's own data",
    "doctor/sandbox.py": "our own trial, which runs nothing that was submitted",
    "events/callbacks/orders.py": "our parent's batches",
    "failpoints.py": "what our own processes noted",
    "peer_json.py": "where that of others is read",
    "federation/parts/guards.py": "what a controller decided, written here and read again",
    "pki/ledger.py": "the authority's own record",
    "plan/digest.py": "our own frozen plan",
    "processes/sandbox/trial.py": "our parent's order",
    "processes/spare_worker.py": "what this site's Envoy noted",
    "processes/site_worker.py": "our parent's orders",
    "processes/worker.py": "our parent's orders",
    "services/daemon/liveness.py": "what the daemons of this machine say",
    "services/director/aggregator_process.py": "our own child, which runs nothing that was submitted",
    "services/local_federation.py": "our own children",
    "store/checkpoint.py": "our own event, written and read again",
    "store/sqlite/director.py": "our own record",
    "store/sqlite/experiment.py": "our own record",
    "store/sqlite/site.py": "our own record",
}
"""Who reads JSON without the bounds of `peer_json`, and whose it is."""


def test_json_of_others_is_read_in_one_place() -> None:
    calls = re.compile(r"\bjson\.loads?\(")
    readers = {path.relative_to(PACKAGE).as_posix() for path in SOURCES if calls.search(path.read_text())}
    assert {name for name in readers if not name.startswith("testing/")} == {*_OWN_JSON}


def test_no_module_is_named_after_nothing() -> None:
    parts = {part for path in SOURCES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert parts & MEANINGLESS == set()


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=name_of)
def test_a_package_says_what_it_is_for_and_exports_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == []


def test_each_layer_says_who_may_import_it() -> None:
    inner = {"protos", "migrations"}
    layers = [path for path in PACKAGE.glob("*/__init__.py") if path.parent.name not in inner]
    silent = [name_of(path) for path in layers if path.parent.name != "cli" and "mport" not in path.read_text()]
    assert silent == []


def test_no_class_has_more_public_methods_than_can_be_learnt() -> None:
    found = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
                count = sum(not name.startswith("_") for name in methods)
                if count > MOST_METHODS:
                    found[f"{name_of(path)}:{node.name}"] = count
    assert found == {}


# A code in brackets or after a colon, and then words: "(always piped)", "- the file says it all", "# a row is untyped".
_SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b")
_WITH_REASON = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[a-z-]+(?:,\s*[a-z-]+)*\])\s*[(#-]\s*\w[^)]*\w"
)


def test_whoever_silences_a_checker_says_which_rule_and_why() -> None:
    bare = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in (*ALL, ROOT / "setup.py")
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _SILENCED.search(line) and not _WITH_REASON.search(line)
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("x  # noqa: S101 (always piped)", True),
        ("x  # noqa: FBT001, FBT002 - setuptools' own signature", True),
        ("x  # type: ignore[arg-type] # a row is untyped", True),
        ("x  # noqa: S101", False),
        ("x  # noqa", False),
        ("x  # type: ignore", False),
        ("x  # type: ignore[arg-type]", False),
    ],
)
def test_what_counts_as_a_reason(line: str, *, good: bool) -> None:
    assert bool(_WITH_REASON.search(line)) is good
    assert _SILENCED.search(line)


def test_no_work_is_left_as_a_note() -> None:
    notes = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
    found = [name_of(path) for path in ALL if path != Path(__file__).resolve() and notes.search(path.read_text())]
    assert found == []


_CONSTANT = r"[A-Z][A-Z0-9_]+"
_IN_A_MODULE, _BY_PATH = rf'\w+, "{_CONSTANT}"', rf'"openfl_like\.[\w.]+\.{_CONSTANT}"'
_PATCHED_CONSTANT = re.compile(rf"(?:monkeypatch|patch)\.setattr\(({_IN_A_MODULE}|{_BY_PATH})")
DEFENDED_PATCHES = {
    "tests/process/test_process_data_connections.py": {"data_server.HANDSHAKE_S", "data_server.PRESENT_S"},
    "tests/process/test_process_doctor.py": {"connection_module.STEP_S", "host.FRAMEWORKS"},
    "tests/process/test_process_enrolment_line.py": {"enrolment.MOST_CONNECTIONS", "enrolment.PATIENCE_S"},
    "tests/unit/wire/transfer/test_wire_transfer_chunks.py": {"transfer.CHUNK_TIMEOUT_S", "transfer.FRAME_BYTES"},
}
"""What both sides of a connection agree on, and what a whole command uses."""


def test_a_test_that_needs_another_constant_hands_it_in() -> None:
    patched = {}
    for path in ALL:
        if found := _PATCHED_CONSTANT.findall(path.read_text()):
            patched[name_of(path)] = {text.replace('"', "").replace(", ", ".") for text in found}
    assert patched == DEFENDED_PATCHES


def test_names_of_test_files_are_unique() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_tests_have_the_folder_and_the_name_of_what_they_test() -> None:
    wrong = [
        name_of(path)
        for path in (ROOT / "tests" / "unit").rglob("test_*.py")
        if not path.name.startswith("_".join(("test", *path.parent.relative_to(ROOT / "tests" / "unit").parts, "")))
    ]
    assert wrong == []


@pytest.mark.children
def test_to_import_the_package_costs_nothing() -> None:
    script = "import sys; import openfl_like; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "torch", "grpc", "pydantic", "cryptography", "sqlalchemy", "asyncio", "yaml"}


@pytest.mark.parametrize("suffix", ["py", "pyi"])
@pytest.mark.children
def test_the_generated_messages_are_those_of_the_protocol_file(suffix: str, tmp_path: Path) -> None:
    tools = pytest.importorskip("grpc_tools", reason="pip install -e '.[dev]'")
    assert tools
    command = [
        sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}",
        str(PROTOS / "federation.proto"),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    name = f"federation_pb2.{suffix}"
    assert (tmp_path / name).read_bytes() == (PROTOS / name).read_bytes(), "run: make protos"
