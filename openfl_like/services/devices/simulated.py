"""The simulated devices of a plan, with what files of its workspace say of them; and what they came to in the end."""

import csv
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from openfl_like.errors import SettingsError, UsageError
from openfl_like.federation.announcements import Announced, only
from openfl_like.federation.devices.profile import SimulatedDevices
from openfl_like.federation.task import DevicesWorked
from openfl_like.plan.checks import check_plan
from openfl_like.plan.paths import written_path
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import PartOrigin
from openfl_like.plan.simulation import DeviceSection

_SECTION = "simulation.devices"
_TIME, _VALUE, _DEVICE = "time_s", "value", "device"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class VirtualTotals:
    """What a simulation came to in virtual time.

    Attributes:
        seconds: How long it took.
        energy_j: What all devices that were asked have drawn, in joules.
        late: How often a device that was asked did not answer a round in time.
        failed: How often one failed.
        unavailable: How often one was away.
    """

    seconds: float
    energy_j: float
    late: int
    failed: int
    unavailable: int

    @classmethod
    def of(cls, seconds: float, history: Iterable[Announced]) -> Self:
        """Sum up the rounds of a history that has ended after so many seconds."""
        rounds = only(history, DevicesWorked)
        return cls(
            seconds,
            math.fsum(joules for told in rounds for joules in told.energy_j.values()),
            sum(len(told.late) for told in rounds),
            sum(len(told.failed) for told in rounds),
            sum(len(told.unavailable) for told in rounds),
        )


def devices_of(plan: Plan, workspace: Path, names: Collection[str]) -> SimulatedDevices | None:
    """Return the devices of a plan's sites; None if it has none.

    Args:
        plan: A plan that was checked.
        workspace: Where files are looked for that it names.
        names: The sites.

    Raises:
        SettingsError: If such a file is missing, or has a mistake.
        PlanError: If its numbers are none that a device can have.
        UsageError: If a trace does not know all sites.
    """
    section = plan.simulation.devices
    if section is None:
        return None
    values = section.model_dump(mode="json")
    read = DeviceSection.model_validate(_with_files(values, workspace))
    if read != section:
        simulation = plan.simulation.model_copy(update={"devices": read})
        check_plan(plan.model_copy(update={"simulation": simulation}), _SECTION, PartOrigin.WORKSPACE)
    devices = SimulatedDevices(read, plan.seed)
    for what, known in devices.traced().items():
        absent = sorted(set(names) - known)
        if absent:
            told = f"the trace of {what} has nothing of {', '.join(absent[:_SHOWN])}"
            more = f" and {len(absent) - _SHOWN} more sites" if len(absent) > _SHOWN else ""
            raise UsageError(f"{told}{more}", place=_SECTION, cure="add them, or leave the column device out")
    return devices


def _with_files(value: JsonValue, workspace: Path) -> JsonValue:
    """Put what traces' files say in place of their names."""
    if not isinstance(value, dict):
        return value
    settings = value.get("settings")
    if value.get("template") == "trace" and isinstance(settings, dict) and isinstance(settings.get("file"), str):
        rest = {key: item for key, item in settings.items() if key != "file"}
        return {**value, "settings": {**rest, "points": _points(_path(workspace, str(settings["file"])))}}
    return {key: _with_files(item, workspace) for key, item in value.items()}


def _path(workspace: Path, text: str) -> Path:
    try:
        return workspace / written_path(text)
    except ValueError as error:
        raise SettingsError(str(error), place=_SECTION, cure="correct file") from error


def _points(path: Path) -> JsonValue:
    """Read a trace."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            columns = set(rows.fieldnames or ())
            if not {_TIME, _VALUE} <= columns <= {_TIME, _VALUE, _DEVICE}:
                raise SettingsError(
                    f"a trace has the columns {_TIME}, {_VALUE}, and {_DEVICE} if each has its own",
                    place=str(path),
                    cure="name them in the first line",
                )
            found: dict[str, list[JsonValue]] = {}
            for row in rows:
                found.setdefault(row.get(_DEVICE) or "", []).append(_point(path, rows.line_num, row))
    except OSError as error:
        told = f"the trace cannot be read: {error.strerror}"
        raise SettingsError(told, place=str(path), cure=f"correct file in {_SECTION}") from error
    except UnicodeDecodeError as error:
        raise SettingsError("the trace is not UTF-8 text", place=str(path), cure="save it as CSV") from error
    if _DEVICE in columns:
        return {name: list(points) for name, points in found.items()}
    return found.get("", [])


def _point(path: Path, line: int, row: Mapping[str, str]) -> JsonValue:
    try:
        point = float(row[_TIME]), float(row[_VALUE])
    except (TypeError, ValueError):
        point = math.nan, math.nan
    if not all(math.isfinite(number) for number in point):
        told = f"{_TIME} and {_VALUE} must be finite numbers"
        raise SettingsError(told, place=f"{path}:{line}", cure="correct the line")
    return list(point)
