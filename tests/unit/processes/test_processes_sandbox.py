"""What a worker keeps of its rights, and what a confinement is called that the kernel offers in part."""

import struct
from pathlib import Path

import pytest

from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import SettingsError
from openfl_like.processes.sandbox import seccomp
from openfl_like.processes.sandbox.confinement import Confinement, Wall
from openfl_like.processes.sandbox.reach import WorkerPlaces, rules_of


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_jumps_within_itself_and_ends_with_an_answer(machine: str) -> None:
    program = list(struct.iter_unpack("=HBBI", seccomp.program_for(machine)))
    assert 50 < len(program) < 4096
    for place, (code, yes, no, _) in enumerate(program):
        if code & 0x07 == 0x05:
            assert place + 1 + max(yes, no) < len(program)
    assert program[-1] == (0x06, 0, 0, 0x7FFF0000)


def test_what_a_kernel_lacks_is_a_gap() -> None:
    assert Confinement(7, seccomp=True, no_new_privileges=True).gaps == ()
    older = Confinement(4, seccomp=True, no_new_privileges=True)
    assert older.gaps == (Wall.SIGNALS,)
    assert older.sufficient
    oldest = Confinement(1, seccomp=True, no_new_privileges=True)
    assert set(oldest.gaps) == {Wall.FILES, Wall.SIGNALS}
    assert not oldest.sufficient
    assert str(Confinement()) == "not confined (Landlock none, seccomp none)"
    assert "confined: processes" in str(oldest)


def test_what_a_shards_params_name_may_be_read_and_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("data", "certs", "pkg", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "clinic.py").touch()
    (tmp_path / "table.csv").touch()
    (tmp_path / "shard.yaml").touch()
    config = ShardConfig.model_validate(
        {"template": "clinic:Shard", "params": {"paths": [{"a": "data"}, "nowhere"]}, "reads": ["table.csv"]}
    )
    config.params.update(decimal=".", sep="/", above="..", here=str(tmp_path))  # words, or what has all of a site in it
    rules = dict(rules_of(WorkerPlaces(tmp_path / "shard.yaml", tmp_path / "own"), config))
    within = {str(path.relative_to(tmp_path)): rules[path].value for path in rules if path.is_relative_to(tmp_path)}
    assert not {Path("/"), tmp_path.parent} & rules.keys()
    assert within == {
        ".": "list", "clinic.py": "read", "data": "read", "own": "own", "pkg": "read", "shard.yaml": "read",
        "table.csv": "read",
    }  # fmt: skip


def test_a_path_to_read_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").touch()
    config = ShardConfig.model_validate({"template": "breast_cancer", "reads": ["no_such"]})
    with pytest.raises(SettingsError, match=r"reads: there is no .*no_such"):
        rules_of(WorkerPlaces(tmp_path / "shard.yaml", tmp_path), config)


def test_a_bare_off_is_a_level(tmp_path: Path) -> None:
    assert ShardConfig.model_validate({"template": "breast_cancer", "sandbox": False}).sandbox == "off"
    assert ShardConfig(template="breast_cancer").sandbox == "best"
