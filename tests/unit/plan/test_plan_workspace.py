import os
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, NotFoundError, UsageError
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.workspace import (
    create_workspace,
    find_plan,
    installed_plans,
    plan_path,
    shards_in,
    template_about,
    template_path,
    templates,
)


def test_every_template_has_a_sound_plan() -> None:
    assert templates()
    for name in templates():
        about = template_about(name)
        assert about[0].isupper(), about
        assert about.endswith("."), about
        path = template_path(name) / "plan.yaml"
        assert workspace_of(path, load_plan(path)) == template_path(name)


def test_every_ready_made_plan_is_sound() -> None:
    assert installed_plans()
    for name in installed_plans():
        assert workspace_of(plan_path(name), load_plan(plan_path(name))).is_dir()


def test_a_template_becomes_a_workspace(tmp_path: Path) -> None:
    name = templates()[0]
    made = create_workspace(tmp_path / "new" / "mine", name)
    assert (made / "plan.yaml").read_bytes() == (template_path(name) / "plan.yaml").read_bytes()
    assert not list(made.rglob("__pycache__"))


def test_an_empty_directory_may_be_filled_and_a_full_one_not(tmp_path: Path) -> None:
    name = templates()[0]
    create_workspace(tmp_path, name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConflictError, match="not empty"):
        create_workspace(tmp_path, name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConflictError):
        create_workspace(tmp_path / "file", templates()[0])


@pytest.mark.parametrize("name", ["", "..", "../plans", "/etc", "nothing"])
def test_only_listed_names_are_found(tmp_path: Path, name: str) -> None:
    for find in (template_path, plan_path):
        with pytest.raises(NotFoundError):
            find(name)
    with pytest.raises(NotFoundError):
        create_workspace(tmp_path / "new", name)


def test_a_near_name_is_suggested() -> None:
    name = installed_plans()[0]
    with pytest.raises(NotFoundError) as caught:
        plan_path(f"{name}x")
    assert caught.value.cure == f"did you mean '{name}'?"


def test_a_plan_is_named_by_path_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = installed_plans()[0]
    assert find_plan(name) == plan_path(name)
    assert find_plan("plan.yaml") == Path("plan.yaml")
    assert find_plan("there/plan") == Path("there/plan")
    Path(name).write_text("")
    assert find_plan(name) == Path(name)
    with pytest.raises(NotFoundError):
        find_plan("nothing")


def written_shards(workspace: Path, *names: str) -> Path:
    (workspace / "shards").mkdir()
    for name in names:
        (workspace / "shards" / name).write_text("template: digits\n")
    return workspace


def test_sites_are_those_of_yaml_files_by_either_ending(tmp_path: Path) -> None:
    written_shards(tmp_path, "south.yml", "north.yaml", "points.py", ".#north.yaml")
    assert list(shards_in(tmp_path)) == ["north", "south"]


@pytest.mark.parametrize("name", ["Klinikum_Nord", "north 2", "NORTH", "klinik-süd", "a.b", "_x"])
def test_a_name_that_no_certificate_can_have_is_no_sites(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"no site can be called '{name}'") as caught:
        shards_in(written_shards(tmp_path, f"{name}.yaml"))
    assert "1 to 63" in caught.value.cure


def test_a_pipe_is_no_file_of_a_site(tmp_path: Path) -> None:
    written_shards(tmp_path, "north.yaml")
    os.mkfifo(tmp_path / "shards" / "south.yaml")
    with pytest.raises(UsageError, match=r"south.yaml: this is not a regular file"):
        shards_in(tmp_path)


def test_two_files_for_one_site_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two files are for the site 'north'"):
        shards_in(written_shards(tmp_path, "north.yaml", "north.yml"))
