"""Files in the forms of well-known data sets, made up; none of them holds a row of the real ones."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from openfl_like.data.files.kdd_columns import CLASSES, COLUMNS, FLAGS, PROTOCOLS, SERVICES, Scale

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def random() -> np.random.Generator:
    return np.random.default_rng(12)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """An IDX file: magic, sizes, values."""
    return bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def mnist(folder: Path, train: int = 60, test: int = 20, *, compressed: bool = False) -> dict[str, JsonValue]:
    """The four files."""
    folder.mkdir(exist_ok=True)
    draws = random()
    for part, count in (("train", train), ("t10k", test)):
        contents = {
            f"{part}-images-idx3-ubyte": idx(draws.integers(0, 256, (count, 28, 28), np.uint8)),
            f"{part}-labels-idx1-ubyte": idx((np.arange(count) % 10).astype(np.uint8)),
        }
        for name, content in contents.items():
            suffix, written = (".gz", gzip.compress(content)) if compressed else ("", content)
            (folder / f"{name}{suffix}").write_bytes(written)
    return {"folder": str(folder)}


def python_2_pickle(
    data: np.ndarray, labels: Mapping[str, Sequence[int]], module: str = "numpy.core.multiarray"
) -> bytes:
    """What Python 2 wrote with protocol 2, as the files of CIFAR are: texts and bytes are the same opcodes."""
    raw = data.tobytes()
    shape = b"".join(b"J" + size.to_bytes(4, "little") for size in data.shape)
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    start = f"c{module}\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R".encode("latin1")
    array = start + b"(K\x01(" + shape + b"t" + kind + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    lists = b"".join(
        b"U" + bytes([len(name)]) + name.encode() + b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"
        for name, values in labels.items()
    )
    return b"\x80\x02}(U\x04data" + array + lists + b"u."


def cifar(folder: Path, classes: int = 10, rows: int = 12, *, binary: bool = False) -> dict[str, JsonValue]:
    """All files of CIFAR-10 or CIFAR-100, a few rows in each."""
    folder.mkdir(exist_ok=True)
    draws = random()
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    for name in names:
        data = draws.integers(0, 256, (rows, 3072), np.uint8)
        fine = (np.arange(rows) % classes).astype(np.uint8)
        labels = {"labels": fine} if classes == 10 else {"coarse_labels": fine % 20, "fine_labels": fine}
        if binary:
            record = np.hstack([*(column[:, None] for column in labels.values()), data])
            (folder / f"{name}.bin").write_bytes(record.tobytes())
        else:
            listed = {key: column.tolist() for key, column in labels.items()}
            (folder / name).write_bytes(python_2_pickle(data, listed))
    return {"folder": str(folder)}


def leaf_document(writers: Mapping[str, int], draws: np.random.Generator) -> dict[str, object]:
    """A file of LEAF: so many images of each writer."""
    data = {
        name: {
            "x": [[float(value) / 255 for value in row] for row in draws.integers(0, 256, (count, 784))],
            "y": [(count + number) % 62 for number in range(count)],
        }
        for name, count in writers.items()
    }
    return {"users": list(writers), "num_samples": list(writers.values()), "user_data": data}


def femnist(folder: Path, writers: int = 6) -> dict[str, JsonValue]:
    """LEAF's folders, in two files each: writer k has 4 + k images to train on, and 2 others."""
    draws = random()
    names = [f"f{number:04}_{number:02}" for number in range(writers)]
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        for file, chosen in enumerate((names[: writers // 2], names[writers // 2 :])):
            counts = {name: (4 + names.index(name)) if part == "train" else 2 for name in chosen}
            text = json.dumps(leaf_document(counts, draws))
            (folder / part / f"all_data_{file}_niid_0_keep_0_{part}_9.json").write_text(text)
    return {"folder": str(folder)}


def connections(rows: int) -> str:
    """Lines of KDD Cup 99."""
    draws, words = random(), {PROTOCOLS: PROTOCOLS, SERVICES: SERVICES, FLAGS: FLAGS}
    values: dict[Scale, Callable[[], str]] = {
        Scale.AS_IT_IS: lambda: f"{draws.integers(0, 101) / 100:.2f}",
        Scale.WINDOW: lambda: str(draws.integers(0, 512)),
        Scale.HOSTS: lambda: str(draws.integers(0, 256)),
        Scale.LOGARITHM: lambda: str(draws.integers(0, 10**6)),
    }
    labels = [label for kind in CLASSES.values() for label in kind]
    lines = []
    for row in range(rows):
        cells = [
            values[how]() if isinstance(how, Scale) else words[how][row % len(words[how])] for how in COLUMNS.values()
        ]
        lines.append(",".join([*cells, f"{labels[row % len(labels)]}."]))
    return "\n".join(lines) + "\n"


def kdd_cup_99(file: Path, rows: int = 120) -> dict[str, JsonValue]:
    """One file, compressed."""
    file.write_bytes(gzip.compress(connections(rows).encode()))
    return {"file": str(file)}


PARAMS: Mapping[str, Callable[[Path], dict[str, JsonValue]]] = {
    "mnist": lambda place: mnist(place / "mnist"),
    "fashion_mnist": lambda place: mnist(place / "fashion", compressed=True),
    "cifar10": lambda place: cifar(place / "cifar-10-batches-py"),
    "cifar100": lambda place: cifar(place / "cifar-100-binary", 100, 40, binary=True),
    "femnist": lambda place: femnist(place / "femnist"),
    "kdd_cup_99": lambda place: kdd_cup_99(place / "kddcup.data_10_percent.gz"),
}
"""Template -> makes its files in a folder, and says its params."""
