"""The worked example of a device monitor works as it is written."""

import sys
from pathlib import Path

import pytest
import yaml

from openfl_like.data.shard_file import load_shard_config
from openfl_like.services.devices.monitors import Monitors
from tests.docs.documents import DOCS, blocks_of


async def test_the_meter_of_the_page_tells_what_a_machine_takes(tmp_path: Path) -> None:
    found = {block.tag: block.text for block in blocks_of(DOCS / "devices.md")}
    (tmp_path / "energy.py").write_text(found["monitor energy.py"])
    counter = tmp_path / "energy_uj"
    counter.write_text("1000000\n")
    settings = yaml.safe_load(found["shard energy"])
    settings["device_monitors"][-1]["settings"]["counter"] = str(counter)
    (tmp_path / "shard.yaml").write_text(yaml.safe_dump(settings))
    config = load_shard_config(tmp_path / "shard.yaml")
    site = Monitors(config.device_monitors, tmp_path, (tmp_path,), read_s=30.0)  # a busy machine makes none late
    try:
        await site.read()
        counter.write_text("3500000\n")
        second = await site.read()
        counter.write_text("7\n")
        third = await site.read()
    finally:
        sys.modules.pop("energy", None)
    assert second.extra["cpu_energy_j"] == pytest.approx(2.5)
    assert second.extra["cpu_power_w"] > 0
    assert (second.cpu_count or 0) > 0
    assert third.extra == {}
