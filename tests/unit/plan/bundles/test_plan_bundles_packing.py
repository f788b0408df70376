"""What of a workspace travels: an allow list, and nothing that looks like a secret or a table."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openfl_like.errors import BundleError
from openfl_like.plan.bundles.packing import AtHome, packing_of
from openfl_like.plan.digest import freeze, plan_digest, thaw
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import template_path, templates

KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nbm90\n"
TOKEN = "fx1/bugs/envoy/north/ca.example.org:50049/" + "A" * 86
CODE = {"src/__init__.py": "", "src/digits.py": "import numpy\n"}
CLASSES = "DigitsRunner = DigitsLoader = object\n"
"""What the plan names."""

Workspace = Callable[[dict[str, str]], Path]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Writes the code that the plan names, and other files."""

    def write(files: dict[str, str]) -> Path:
        for name, text in (CODE | files).items():
            path = tmp_path / "code" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + CLASSES if name == "src/digits.py" else text)
        return tmp_path / "code"

    return write


def paths(workspace: Path, plan: Plan) -> list[str]:
    return [file.path for file in packing_of(workspace, plan).files]


def with_keys(plan: Plan, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Plan:
    return plan.model_copy(update={"include": include, "exclude": exclude})


# ---- what travels -------------------------------------------------------------------------------------------------


def test_what_nobody_names_stays_at_home(workspace: Workspace, plan: Plan) -> None:
    private = {
        "id_rsa": KEY,
        "keys/root/ca.key": KEY,
        "keys/user/key.pem": KEY,
        "north.token": TOKEN,
        "notes.txt": TOKEN,
        "patients.csv": "name",
        "Data/patients.csv": "name",
        "dataset/train.csv": "name",
        "src/cohort.parquet": "x",
        "shard.yml": "template: x",
        "shards.old/north.yaml": "x",
        "shard-north.yaml": "x",
        "plan.yml": "name: x",
        "Untitled 1.ipynb": "{}",
        "scratch.py": "x = 1",
        "results/old.bin": "x",
    }
    manifest = {"README.md": "hi", "requirements.txt": "torch", "requirements.lock": "", "LICENSE": "MIT"}
    assert paths(workspace(private | manifest), plan) == sorted({**CODE, **manifest})


def test_imports_are_followed(workspace: Workspace, plan: Plan) -> None:
    files = {
        "src/digits.py": "from . import layers\nimport scaling\nfrom tools.deep import plot as p\n",
        "src/layers.py": "def f():\n    import late\n",
        "src/by_name.py": "import importlib\nimportlib.import_module('plugged.one')\n",
        "scaling.py": "",
        "late.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import shards.points\n",
        "tools/__init__.py": "",
        "tools/deep/plot.py": "",
        "plugged/one.py": "",
        "shards/points.py": "",
    }
    kept = {*CODE, *files} - {"shards/points.py"}
    other = {"other.py": "", "tools/notes.txt": "", "tools/two words.py": "", "more/__init__.py": ""}
    assert paths(workspace(files | other), plan) == sorted(kept)


def test_sizes_are_told(workspace: Workspace, plan: Plan) -> None:
    packing = packing_of(workspace({}), plan)
    assert [(file.path, file.size_bytes) for file in packing.files] == [
        ("src/__init__.py", 0),
        ("src/digits.py", 13 + len(CLASSES)),
    ]
    assert packing.total_bytes == 13 + len(CLASSES)


@pytest.mark.parametrize("template", templates())
def test_of_a_template_all_but_shards_and_plan_travel(template: str) -> None:
    folder = template_path(template)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.[pmt][ydx]*") if path.is_file()}
    kept = {path for path in found if "__pycache__" not in path and not path.startswith("shards/")}
    assert set(paths(folder, load_plan(folder / "plan.yaml"))) == kept


def test_files_that_the_plan_names_travel(workspace: Workspace, plan: Plan) -> None:
    values = plan.model_dump(mode="json")
    values["aggregator"]["settings"]["init_state_path"] = "models/first.npz"
    values["tasks"]["bern"] = {"function": "validate", "kwargs": {"apply": "file:models/bern.safetensors"}}
    values["task_runner"]["settings"]["words"] = "assets/words.json"
    files = {"models/first.npz": "x", "models/bern.safetensors": "x", "assets/words.json": "{}", "models/old.npz": "x"}
    assert paths(workspace(files), Plan.model_validate(values)) == sorted({*CODE, *files} - {"models/old.npz"})


@pytest.mark.parametrize("text", ["a sentence. " * 40, "a/" * 3000 + "b.txt", "x" * 300 + ":Runner"])
def test_a_text_that_is_longer_than_any_name_of_a_file_names_none(workspace: Workspace, plan: Plan, text: str) -> None:
    runner = plan.task_runner.model_copy(update={"settings": {"says": text}})
    here = workspace({})
    assert paths(here, plan.model_copy(update={"task_runner": runner})) == paths(here, plan)


def test_a_table_that_a_setting_names_has_to_be_included(workspace: Workspace, plan: Plan) -> None:
    values = plan.model_dump(mode="json")
    values["data_loader"]["settings"]["codes"] = "assets/codes.csv"
    named = Plan.model_validate(values)
    code = workspace({"assets/codes.csv": "a,b"})
    with pytest.raises(BundleError, match=r"assets/codes.csv: .*table of data .*include:"):
        packing_of(code, named)
    assert "assets/codes.csv" in paths(code, with_keys(named, ("assets/codes.csv",)))


# ---- include and exclude ------------------------------------------------------------------------------------------


def test_include_and_exclude(workspace: Workspace, plan: Plan) -> None:
    code = workspace({"assets/a.json": "", "assets/deep/b.json": "", "assets/c.txt": "", "src/old.py": ""})
    assert paths(code, with_keys(plan, ("assets/*.json",), ("src/old.py",))) == sorted(
        [*CODE, "assets/a.json", "assets/deep/b.json"]
    )
    assert paths(code, with_keys(plan, ("assets",), ("assets/deep/", "src/old.py"))) == sorted(
        [*CODE, "assets/a.json", "assets/c.txt"]
    )


def test_an_include_that_finds_nothing_is_told(workspace: Workspace, plan: Plan) -> None:
    with pytest.raises(BundleError, match=r"assets/wrods.json: include: names it, and no file"):
        packing_of(workspace({"assets/words.json": ""}), with_keys(plan, ("assets/wrods.json",)))


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "data/words.json",
        "DATA/words.json",
        "Certs/ca.pem",
        "Shard.yaml",
        "shard.yaml",
        "certs/ca.pem",
        "save/model.safetensors",
    ],
)
def test_what_never_travels_cannot_be_included(workspace: Workspace, plan: Plan, name: str) -> None:
    with pytest.raises(BundleError, match=rf"{name}: .*never sent.*\(move what all sites may have"):
        packing_of(workspace({name: "x"}), with_keys(plan, (name,)))


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("id_rsa", "x", "a secret"),
        ("keys/ca.key", "x", "a secret"),
        ("keys/id_ed25519.old", "x", "a secret"),
        ("north.token", "x", "a secret"),
        ("prod.env", "PASSWORD=x", "a secret"),
        ("keys/user.pem", KEY, "a private key"),
        ("notes.txt", f"the token: {TOKEN}\n", "an enrolment token"),
        ("deploy.sh", "export KEY=AKIA" + "A1B2" * 4, "an access key"),
        ("s3.cfg", "aws_secret_access_key = " + "wJal/+rX" * 5, "an access key"),
        ("s3.json", '{"AWS_SECRET_ACCESS_KEY": "' + "wJal/+rX" * 5 + '"}', "an access key"),
        ("hub.txt", "hf_" + "aB3" * 12, "an access token"),
        ("ci.yml", "token: glpat-" + "a-B_3" * 5, "an access token"),
        ("api.txt", "sk-" + "aB3d" * 12, "an access token"),
        ("api2.txt", "sk-proj-" + "aB3_d-" * 6, "an access token"),
        ("bot.txt", "xoxb-" + "123456-" * 4, "an access token"),
        ("gh.txt", "ghr_" + "aB3d" * 9, "an access token"),
        ("maps.txt", "AIza" + "aB3_-" * 7, "an access token"),
        ("npmrc.txt", "npm_" + "aB3d" * 9, "an access token"),
        ("shard.yml", "template: x", "a shard descriptor"),
        ("shard-north.yaml", "template: x", "a shard descriptor"),
        ("shards.old/north.yaml", "template: x", "a shard descriptor"),
        ("patients.csv", "name", "a table"),
        ("Tables/cohort.XLSX", "x", "a table"),
        ("arrays/x.npy", "x", "a table"),
        ("cohort.sqlite3", "x", "a table"),
    ],
)
def test_secrets_and_tables_are_refused_by_name(
    workspace: Workspace, plan: Plan, name: str, text: str, what: str
) -> None:
    with pytest.raises(BundleError, match=f"{name}: .*looks like {what}") as caught:
        packing_of(workspace({name: text}), with_keys(plan, ("*",)))
    assert caught.value.cure


def test_a_secret_in_code_is_refused(workspace: Workspace, plan: Plan) -> None:
    with pytest.raises(BundleError, match=r"src/settings.py: it looks like a private key"):
        packing_of(workspace({"src/settings.py": f'KEY = """{KEY}"""'}), plan)


@pytest.mark.parametrize(
    "text",
    [
        "class='sk-estimator-doc-link fitted'",
        "task-" + "a" * 40,
        "hf_hub_download(repo)",
        "aws_secret_access_key = os.environ",
    ],
)
def test_words_that_only_begin_like_a_token_travel(workspace: Workspace, plan: Plan, text: str) -> None:
    assert "src/words.py" in paths(workspace({"src/words.py": text}), with_keys(plan, ("src/words.py",)))


def test_certificates_and_public_keys_are_no_secrets(workspace: Workspace, plan: Plan) -> None:
    files = {"trust/root.pem": "-----BEGIN CERTIFICATE-----\n", "trust/id_rsa.pub": "ssh-rsa AAAA", "src/token.py": ""}
    assert set(paths(workspace(files), with_keys(plan, ("trust",)))) == {*CODE, *files}


def test_the_keys_are_part_of_the_digest_where_they_are_used(plan: Plan) -> None:
    assert b"include" not in freeze(plan)
    assert b"exclude" not in freeze(plan)
    used = with_keys(plan, ("assets/*",))
    assert thaw(freeze(used)) == used
    assert plan_digest(used) != plan_digest(plan)


# ---- what would fail at a site ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["data", "Data", "shards", "save", "logs"])
def test_code_that_stays_at_home_and_is_needed_is_refused(workspace: Workspace, plan: Plan, folder: str) -> None:
    code = workspace({"src/digits.py": f"\nfrom {folder} import scaling\n", f"{folder}/scaling.py": ""})
    with pytest.raises(BundleError, match=rf"digits.py, line 2, imports '{folder}.scaling'.* stays") as caught:
        packing_of(code, plan)
    assert caught.value.cure == f"move {folder}/scaling.py to another folder"


def test_code_that_is_excluded_and_needed_is_refused(workspace: Workspace, plan: Plan) -> None:
    code = workspace({"src/digits.py": "import scaling\n", "scaling.py": ""})
    with pytest.raises(BundleError, match=r"scaling.py.* stays at home: exclude: of the plan names it"):
        packing_of(code, with_keys(plan, exclude=("scaling.py",)))


def test_what_code_can_do_without_is_told(workspace: Workspace, plan: Plan) -> None:
    text = "try:\n    import data.fast\nexcept ImportError:\n    pass\nWORDS = 'words.json'\nTABLE = 'tables/t.csv'\n"
    code = workspace({"src/digits.py": text, "data/fast.py": "", "src/words.json": "", "tables/t.csv": ""})
    packing = packing_of(code, plan)
    assert [file.path for file in packing.files] == sorted(CODE)
    assert [item.path for item in packing.at_home] == ["data/fast.py", "src/words.json", "tables/t.csv"]
    included = packing_of(code, with_keys(plan, ("src/words.json",)))
    assert AtHome("src/words.json", "src/digits.py") not in included.at_home


@pytest.mark.parametrize("name", ["random.py", "types/__init__.py", "code.py"])
def test_a_module_that_hides_the_standard_library_is_refused(workspace: Workspace, plan: Plan, name: str) -> None:
    with pytest.raises(BundleError, match=r"it hides the module .* of Python's standard library"):
        packing_of(workspace({name: ""}), plan)


@pytest.mark.parametrize("name", ["openfl_like.py", "openfl_like/__init__.py"])
def test_a_module_that_hides_the_platform_is_refused(workspace: Workspace, plan: Plan, name: str) -> None:
    with pytest.raises(BundleError, match=r"it hides the module 'openfl_like' of this platform"):
        packing_of(workspace({name: ""}), plan)


def test_a_folder_with_the_name_of_a_module_of_the_standard_library_is_none(workspace: Workspace, plan: Plan) -> None:
    assert paths(workspace({"code/notes.txt": "", "test/__init__.py": ""}), plan) == sorted(CODE)


@pytest.mark.parametrize("name", ["src/aux.py", "src/Digits.py", "src/größe.py"])
def test_names_that_not_all_systems_have_are_refused_with_a_cure(workspace: Workspace, plan: Plan, name: str) -> None:
    with pytest.raises(BundleError, match=r"cannot be part of a bundle") as caught:
        packing_of(workspace({name: ""}), plan)
    assert "exclude:" in caught.value.cure
    assert paths(workspace({}), with_keys(plan, exclude=(name,))) == sorted(CODE)


def test_a_link_in_a_package_is_refused(workspace: Workspace, plan: Plan, tmp_path: Path) -> None:
    code = workspace({})
    (tmp_path / "shared.py").write_text("")
    (code / "src" / "shared.py").symlink_to(tmp_path / "shared.py")
    with pytest.raises(BundleError, match=r"src/shared.py: .*a symbolic link \(put a copy in its place"):
        packing_of(code, plan)


def test_a_package_that_is_a_link_to_elsewhere_is_refused(workspace: Workspace, plan: Plan, tmp_path: Path) -> None:
    code = workspace({"src/digits.py": "import mylib\n"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "__init__.py").write_text("")
    (elsewhere / "private.py").write_text("x = 1\n")
    (code / "mylib").symlink_to(elsewhere)
    with pytest.raises(BundleError, match="it is a symbolic link") as refused:
        packing_of(code, plan)
    assert str(refused.value.place).endswith("code/mylib")


def test_a_secret_in_the_plan_is_refused(workspace: Workspace, plan: Plan) -> None:
    task = plan.tasks["train"].model_copy(update={"kwargs": {"token": TOKEN}})
    secretive = plan.model_copy(update={"tasks": {**plan.tasks, "train": task}})
    with pytest.raises(BundleError, match="the plan has what looks like an enrolment token, which is never sent"):
        packing_of(workspace({}), secretive)


def test_a_module_at_the_top_that_imports_relatively_leads_nowhere(workspace: Workspace, plan: Plan) -> None:
    code = workspace({"src/digits.py": "import helper\n", "helper.py": "from . import app\nfrom .. import app\n"})
    assert "helper.py" in paths(code, plan)
