"""Which shard of a site an experiment works on."""

from pathlib import Path

import pytest

from openfl_like.errors import SettingsError, ShardMismatchError
from openfl_like.services.envoy.shards import load_shards, shard_of


def shard(path: Path, lines: str = "") -> Path:
    path.write_text(f"template: digits\n{lines}")
    return path


def test_each_interface_has_one_file(tmp_path: Path) -> None:
    tables, pictures = (shard(tmp_path / f"{name}.yaml", f"interface: {name}\n") for name in ("tables", "pictures"))
    configs = load_shards((tables, pictures))
    assert [config.interface for config in configs.values()] == ["tables", "pictures"]
    again = shard(tmp_path / "again.yaml", "interface: tables\n")
    with pytest.raises(SettingsError, match=r"again.yaml: .*tables.yaml has the interface 'tables', too"):
        load_shards((tables, again))
    plain = shard(tmp_path / "plain.yaml")
    with pytest.raises(SettingsError, match=r"plain.yaml has no interface, too"):
        load_shards((plain, plain))
    with pytest.raises(SettingsError, match="interface"):
        load_shards((shard(tmp_path / "odd.yaml", "interface: no name\n"),))


def test_an_experiment_works_on_the_shard_of_its_interface() -> None:
    shards = {"tables": Path("tables.yaml"), "pictures": Path("pictures.yaml")}
    assert shard_of("pictures", shards) == Path("pictures.yaml")
    with pytest.raises(ShardMismatchError, match="no shard for the interface 'sounds'"):
        shard_of("sounds", shards)
    with pytest.raises(ShardMismatchError, match=r"no shard without an interface \(start the Envoy"):
        shard_of("", shards)
    assert shard_of("", {"": Path("shard.yaml")}) == Path("shard.yaml")
