import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from pydantic import JsonValue

from openfl_like.data.shard import ArrayShard, DataSchema, Dataset, ShardDescriptor, build_shard, check_shard
from openfl_like.data.shard_file import ShardConfig, load_shard_config
from openfl_like.errors import SettingsError, ShardError

OWN_SHARD = """
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset

class Own(ArrayShard):
    def __init__(self, rows=4):
        if rows < 0:
            raise OSError("the disk is on fire")
        data = Dataset(np.zeros((rows, 2), dtype=np.float32), np.zeros(rows, dtype=np.int64))
        super().__init__({"train": data, "validate": data}, "own", (0.0, 1.0), classes=2)
"""


def arrays(rows: int = 4) -> Dataset:
    return Dataset(np.full((rows, 2), 0.5, dtype=np.float32), np.arange(rows, dtype=np.int64) % 2)


class Odd(ArrayShard):
    """Breaks one promise of its schema."""

    def __init__(self, **wrong: object) -> None:
        super().__init__({"train": arrays(), "validate": arrays()}, "odd", (0.0, 1.0), classes=2)
        self._wrong = wrong

    @property
    def schema(self) -> DataSchema:
        return replace(super().schema, **self._wrong)  # type: ignore[arg-type]  # the tests choose fitting fields


def test_a_shard_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shard.yaml"
    path.write_text("template: heart_disease\nparams: {hospital: hungary, holdout: 0.3}\n")
    config = load_shard_config(path)
    assert config == ShardConfig(template="heart_disease", params={"hospital": "hungary", "holdout": 0.3})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("template: digits\nparam: {}\n", "param"),
        ("params: {}\n", "template"),
        ("template: [digits\n", "shard.yaml"),
        ("template: digits\nparams: {shuffle: no}\n", "params.shuffle: no is text here; write false"),
    ],
)
def test_a_faulty_shard_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "shard.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        load_shard_config(path)


def test_a_missing_shard_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load_shard_config(tmp_path / "shard.yaml")


def test_a_site_may_bring_its_own_class(tmp_path: Path) -> None:
    (tmp_path / "ward_seven.py").write_text(OWN_SHARD)
    shard = build_shard(ShardConfig(template="ward_seven:Own", params={"rows": 6}), directory=tmp_path)
    assert shard.schema.counts == {"train": 6, "validate": 6}
    assert shard.sample_shape == (2,)
    assert shard.target_shape == ()


def test_what_a_shard_raises_is_named(tmp_path: Path) -> None:
    (tmp_path / "ward_eight.py").write_text(OWN_SHARD)
    with pytest.raises(ShardError, match=r"shard 'ward_eight:Own': OSError: the disk is on fire"):
        build_shard(ShardConfig(template="ward_eight:Own", params={"rows": -1}), directory=tmp_path)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (ShardConfig(template="digit"), "did you mean 'digits'"),
        (ShardConfig(template="nowhere_at_all:Shard"), "nowhere_at_all"),
        (
            ShardConfig(template="heart_disease", params={"hospita": "hungary"}),
            "shard 'heart_disease': TypeError: there is no param 'hospita'; did you mean 'hospital'",
        ),
        (ShardConfig(template="mnist"), "shard 'mnist': TypeError: the param 'folder' must be given"),
        (ShardConfig(template="csv"), "the params 'file' and 'target' must be given"),
        (ShardConfig(template="femnist", params={"folder": "nowhere"}), r"nowhere: .* written \./nowhere"),
        (ShardConfig(template="heart_disease", params={"hospital": "zurich"}), "va_long_beach"),
    ],
)
def test_a_shard_that_cannot_be_built_is_refused(config: ShardConfig, told: str) -> None:
    with pytest.raises(ShardError, match=told):
        build_shard(config)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sample_dtype": "float64"}, "samples are float32"),
        ({"target_dtype": "int32"}, "targets are int64"),
        ({"sample_range": [0.0, 0.1]}, "samples reach"),
        ({"target_range": [1.0, 9.0]}, "targets reach"),
        ({"counts": {"train": 5, "validate": 4}}, "counts 5"),
    ],
)
def test_data_that_breaks_its_own_schema_is_refused(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, JsonValue], told: str
) -> None:
    monkeypatch.setattr("openfl_like.registry.resolve", lambda *_: Odd)
    with pytest.raises(ShardError, match=told):
        build_shard(ShardConfig(template="odd", params=wrong))


@pytest.mark.parametrize(
    ("train", "told"),
    [
        (Dataset(np.zeros((4, 3), dtype=np.float32), arrays().targets), None),
        (Dataset(np.full((4, 2), np.nan, dtype=np.float32), arrays().targets), "a missing value"),
        (Dataset(arrays().samples, arrays(3).targets), "3 targets"),
        (arrays(0), "empty"),
    ],
)
def test_unusable_arrays_are_refused(monkeypatch: pytest.MonkeyPatch, train: Dataset, told: str | None) -> None:
    def factory() -> ArrayShard:
        return ArrayShard({"train": train, "validate": arrays()}, "odd", (0.0, 1.0), classes=2)

    monkeypatch.setattr("openfl_like.registry.resolve", lambda *_: factory)
    with pytest.raises(ShardError, match=told or "validate samples have the shape"):
        build_shard(ShardConfig(template="odd"))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ShardError, match="train or validate"):
        Odd().get_dataset("test")


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"schema": None}, "'schema' is NoneType, not DataSchema"),
        ({"sample_shape": 3}, "'sample_shape' is int, not tuple"),
        ({"get_dataset": lambda _: ([1.0], [0])}, "'train' data is tuple, not a Dataset of two NumPy arrays"),
        (
            {"get_dataset": lambda _: Dataset(cast("np.ndarray", [1.0]), np.zeros(1))},
            "train samples are a list, not a NumPy",
        ),
    ],
)
def test_what_is_not_a_shard_is_refused_with_the_member_that_is_wrong(members: dict[str, object], told: str) -> None:
    whole = ArrayShard({"train": arrays(), "validate": arrays()}, "odd", (0.0, 1.0), classes=2)
    names = ("schema", "sample_shape", "target_shape", "dataset_description", "get_dataset")
    shard = SimpleNamespace(**{name: getattr(whole, name) for name in names} | members)
    with pytest.raises(ShardError, match=told):
        check_shard(cast("ShardDescriptor", shard))


LATE = """
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset


class Own(ArrayShard):
    def __init__(self):
        data = Dataset(np.zeros((4, 2), np.float32), np.zeros(4, np.int64))
        super().__init__({"train": data, "validate": data}, "zeros", (0.0, 1.0))

    @property
    def dataset_description(self):
        from ward_words import WORDS
        return WORDS

    beds = 7

    def words(self, times=1):
        from ward_words import WORDS
        return WORDS * times

    def get_dataset(self, kind):
        import ward_words
        assert ward_words.WORDS == self.dataset_description
        return super().get_dataset(kind)
"""


def test_each_site_has_its_own_modules_whenever_they_are_imported(tmp_path: Path) -> None:
    shards = {}
    for site in ("north", "south"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "ward_thirteen.py").write_text(LATE)
        (tmp_path / site / "ward_words.py").write_text(f"WORDS = {site!r}\n")
        shards[site] = build_shard(ShardConfig(template="ward_thirteen:Own"), tmp_path / site)
    for site, shard in shards.items():
        assert shard.dataset_description == site
        assert len(shard.get_dataset("validate")) == 4
        assert (shard.beds, shard.words(times=2)) == (7, site * 2)  # type: ignore[attr-defined] # its class's own
    assert not {"ward_thirteen", "ward_words"} & sys.modules.keys()


def test_a_shard_of_an_installed_package_is_given_as_it_is(tmp_path: Path) -> None:
    assert (
        type(build_shard(ShardConfig(template="heart_disease", params={"hospital": "cleveland"}), tmp_path)).__name__
        == "HeartDiseaseShard"
    )


READER = """
from pathlib import Path
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset

class Reader(ArrayShard):
    def __init__(self, file, **more):
        self.given = (file, more)
        open(file).close()
        data = Dataset(np.zeros((2, 2), dtype=np.float32), np.zeros(2, dtype=np.int64))
        super().__init__({"train": data, "validate": data}, "read", (0.0, 1.0), classes=2)
"""


def shard_file(folder: Path, params: str) -> Path:
    (folder / "reader.py").write_text(READER)
    path = folder / "shard.yaml"
    path.write_text(f"template: reader:Reader\nparams: {params}\n")
    return path


@pytest.mark.parametrize("written", ["rows.csv", "./rows.csv", "deep/rows", "../beside/rows.csv"])
def test_a_path_in_params_is_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    folder = tmp_path / "site"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    for name in ("rows.csv", "deep/rows", "../beside/rows.csv"):
        (folder / name).write_text("1,2")
    path = shard_file(folder, f"{{file: {written}}}")
    monkeypatch.chdir(tmp_path)
    config = load_shard_config(Path("site/shard.yaml"))
    assert config.params == {"file": str(folder / written)}
    build_shard(config, path.parent)


def test_paths_in_lists_and_mappings_are_found_and_words_stay_words(tmp_path: Path) -> None:
    (tmp_path / "a.npy").touch()
    (tmp_path / "north").mkdir()
    params = "{file: a.npy, more: [a.npy, {b: a.npy, c: b.npy}], site: north, share: 0.5, lr: '1.5', here: .}"
    found = load_shard_config(shard_file(tmp_path, params)).params
    here = str(tmp_path / "a.npy")
    more: list[JsonValue] = [here, {"b": here, "c": "b.npy"}]
    assert found == {"file": here, "more": more, "site": "north", "share": 0.5, "lr": "1.5", "here": "."}


@pytest.mark.parametrize("start", ["~", "$HOME", "${HOME}"])
def test_the_home_directory_in_a_shard_file_is_that_of_the_site(tmp_path: Path, start: str) -> None:
    (tmp_path / "rows.csv").touch()
    path = shard_file(tmp_path, f'{{file: "{start}/rows.csv"}}')
    with path.open("a") as file:
        file.write(f'reads: ["{start}/more", beside]\nenvironment: {{wheelhouse: "{start}/wheels"}}\n')
    config = load_shard_config(path, home=str(tmp_path))
    assert config.params == {"file": str(tmp_path / "rows.csv")}
    assert config.reads == (tmp_path / "more", tmp_path / "beside")
    assert config.environment.wheelhouse == tmp_path / "wheels"


def test_a_variable_that_nobody_replaces_is_a_mistake_of_the_shard_file(tmp_path: Path) -> None:
    path = shard_file(tmp_path, "{file: x}")
    with path.open("a") as file:
        file.write("reads: [$DATA/more]\n")
    with pytest.raises(SettingsError, match=r"shard.yaml: the variable \$DATA is not replaced"):
        load_shard_config(path)


def test_a_file_that_is_not_there_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    path = shard_file(tmp_path, "{file: rows.csv}")
    with pytest.raises(ShardError) as caught:
        build_shard(load_shard_config(path), tmp_path)
    assert "rows.csv" in caught.value.message
    assert caught.value.cure.startswith(
        f"paths in params are relative to shard.yaml, so they were looked for in {tmp_path};"
    )


def test_a_property_that_fails_is_told_with_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Odd):
        @property
        def dataset_description(self) -> str:
            return self.nowhere  # type: ignore[attr-defined,no-any-return]  # what is tested

    monkeypatch.setattr("openfl_like.registry.resolve", lambda *_: Failing)
    with pytest.raises(ShardError, match="AttributeError: 'Failing' object has no attribute 'nowhere'"):
        build_shard(ShardConfig(template="odd"))
