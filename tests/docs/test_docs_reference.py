import dataclasses
import importlib
import os
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from openfl_like.authoring.dry_run.findings import WARNINGS, FindingKind
from openfl_like.data.shard_file import ShardConfig
from openfl_like.error_meanings import MEANINGS
from openfl_like.federation.announcements import KINDS
from openfl_like.pki.roles import RPC_ROLES
from openfl_like.plan.workspace import installed_plans, templates
from openfl_like.registry import BUILTIN
from openfl_like.services.director.settings import DirectorFile
from openfl_like.wire.protos import federation_pb2
from tests.docs.documents import DOCS, GOLDEN, REFERENCE, documents, generator, rows_of

WRITES = bool(os.environ.get("OPENFL_LIKE_GOLDEN"))


@pytest.fixture(scope="module", autouse=True)
def written_anew() -> None:
    if WRITES:
        generator().main()


def test_the_generated_pages_are_those_of_the_code() -> None:
    wanted: dict[Path, str] = generator().pages()
    stale = [
        str(path.relative_to(DOCS)) for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    left_over = set((REFERENCE / "errors").glob("*.md")) - set(wanted)
    assert (stale, left_over) == ([], set()), "run make golden"


def test_every_plug_in_has_its_place_on_the_page() -> None:
    assert set(generator().KINDS) == set(BUILTIN)
    text = (REFERENCE / "plugins.md").read_text()
    for kind, names in BUILTIN.items():
        for name, target in names.items():
            about = text.split(f"\n### {kind}: {name}\n\n`{target}`\n\n", 1)[1].split("\n#", 1)[0]
            assert about.strip(), name


def test_the_help_of_every_command_is_as_it_was_agreed() -> None:
    folder = GOLDEN / "cli"
    texts = {folder / f"{path.replace(' ', '-')}.txt": text for path, text in generator().commands()}
    if WRITES:
        for path in {*folder.glob("*.txt")} - set(texts):
            path.unlink()
        for path, text in texts.items():
            path.write_text(text)
    assert {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))} == {
        path.name: texts[path] for path in sorted(texts)
    }


def test_every_command_but_groups_has_an_example() -> None:
    texts = dict(generator().commands())
    leaves = [path for path, text in texts.items() if "Commands:" not in text]
    assert [path for path in leaves if f"Example: {path}" not in " ".join(texts[path].split())] == []


def test_every_error_says_cause_and_cure() -> None:
    pages = [(REFERENCE / "errors" / f"{kind.code}.md").read_text() for kind in MEANINGS]
    assert [page[:40] for page in pages if not re.search(r"happens\.\*\* \S.*\n\n\*\*What to do\.\*\* \S", page)] == []


def test_every_finding_of_a_dry_run_is_listed_with_its_severity() -> None:
    rows = rows_of(DOCS / "dry-run.md", "What it finds")
    told = {kind: row[0].split(", ")[-1] for kind, row in rows.items() if kind != "kind"}
    usual = {kind.value: "warning" if kind in WARNINGS else "error" for kind in FindingKind}
    assert told.keys() == usual.keys()
    assert {kind for kind in usual if usual[kind] not in rows[kind][0].split(", ")} == set()


def test_the_exit_codes_are_those_of_the_table_of_errors() -> None:
    wanted: dict[str, set[str]] = {}
    for kind, meaning in MEANINGS.items():
        wanted.setdefault(str(meaning.exit_code), set()).add(kind.code)
    rows = rows_of(DOCS / "operations.md", "Exit codes")
    assert {code: set(re.findall(r"E\d{3}", rows[code][1])) for code in wanted} == wanted


def test_the_time_limits_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) s \|.*\| `([\w.]+):(\w+)` \|$", (DOCS / "operations.md").read_text(), re.MULTILINE)
    assert len(rows) > 5
    assert [row for row in rows if getattr(importlib.import_module(row[1]), row[2]) != float(row[0])] == []


def test_every_announcement_is_described_with_its_fields() -> None:
    fields = {kind: {item.name for item in dataclasses.fields(known)} for kind, known in KINDS.items()}
    rows = rows_of(REFERENCE / "events.md", "Kinds")
    del rows["kind"]
    assert {kind: set(re.findall(r"`(\w+)`", row[1])) for kind, row in rows.items()} == fields


def test_every_call_is_described_with_the_roles_that_may_make_it() -> None:
    services = federation_pb2.DESCRIPTOR.services_by_name
    for service in services.values():
        rows = rows_of(REFERENCE / "calls.md", f"{service.name}")
        for method in service.methods:
            row = rows[method.name]
            allowed = RPC_ROLES[f"/{service.full_name}/{method.name}"]
            assert set(row[0].split(", ")) == {role.value for role in allowed}, method.full_name


@pytest.mark.parametrize(("model", "heading"), [(DirectorFile, "director.yaml"), (ShardConfig, "shard.yaml")])
def test_every_key_of_the_settings_files_is_described(model: type[BaseModel], heading: str) -> None:
    rows = rows_of(REFERENCE / "settings.md", heading)
    assert {*model.model_fields} <= {*rows}
    defaults = {key: field.default for key, field in model.model_fields.items() if not field.is_required()}
    shown = {key: rows[key][1].strip("`") for key in defaults}
    plain = {key: value for key, value in defaults.items() if isinstance(value, str | Path)}
    assert {key: shown[key] for key in plain} == {key: str(value) for key, value in plain.items()}


def test_every_part_that_is_shipped_is_described() -> None:
    text = "\n".join(path.read_text() for path in documents())
    parts = {name for table in BUILTIN.values() for name in table}
    assert [name for name in sorted({*parts, *templates(), *installed_plans()}) if f"`{name}`" not in text] == []
