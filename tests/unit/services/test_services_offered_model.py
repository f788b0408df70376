"""A model is judged by its size before a byte of it is stored."""

import os
import shutil
from pathlib import Path

import pytest

from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import ModelTooLargeError, SettingsError, StorageError
from openfl_like.services.offered_model import ModelBorder
from openfl_like.wire.transfer.chunks import part_of


def border(tmp_path: Path, limits: str = "") -> ModelBorder:
    (tmp_path / "shard.yaml").write_text(f"template: digits\n{limits}")
    return ModelBorder("digits-0123abcd", tmp_path / "shard.yaml")


def test_without_a_word_of_the_site_20_gb_are_the_most(tmp_path: Path) -> None:
    found = border(tmp_path)
    found.check(1000, tmp_path / "model", tmp_path / "spare")
    with pytest.raises(ModelTooLargeError, match=r"'digits-0123abcd' has 20,000,000,001 bytes.*20,000,000,000 at most"):
        found.check(20_000_000_001, tmp_path / "model", tmp_path / "spare")


def test_a_model_of_the_size_of_the_limit_is_taken(tmp_path: Path) -> None:
    found = border(tmp_path, "limits: {model_gb: 0.001}\n")
    found.check(1_000_000, tmp_path / "model", tmp_path / "spare")
    with pytest.raises(ModelTooLargeError, match=r"1,000,001 bytes, this site takes 1,000,000 at most"):
        found.check(1_000_001, tmp_path / "model", tmp_path / "spare")


def test_a_model_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    found = border(tmp_path, "limits: {model_gb: 1000000}\n")
    with pytest.raises(StorageError, match=r"'digits-0123abcd' has .* bytes, the disk has room for .*make room"):
        found.check(free + (1 << 40), tmp_path / "model", tmp_path / "spare")


@pytest.mark.parametrize("kept", ["part", "spare"])
def test_what_would_be_overwritten_is_room(tmp_path: Path, kept: str) -> None:
    model, spare = tmp_path / "model", tmp_path / "spare"
    held = 64 << 20
    with (part_of(model) if kept == "part" else spare).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, held)
    free = shutil.disk_usage(tmp_path).free
    border(tmp_path, "limits: {model_gb: 1000000}\n").check(free + held // 2, model, spare)


@pytest.mark.parametrize("value", ["0", "-1", ".inf", ".nan", "many", "[]"])
def test_a_limit_that_is_none_is_a_mistake_of_the_site(tmp_path: Path, value: str) -> None:
    (tmp_path / "shard.yaml").write_text(f"template: digits\nlimits: {{model_gb: {value}}}\n")
    with pytest.raises(SettingsError, match=r"limits\.model_gb"):
        load_shard_config(tmp_path / "shard.yaml")
