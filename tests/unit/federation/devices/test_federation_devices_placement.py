"""Which device a worker gets, as tables: the plan's wish, the site's offer, what is taken."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.errors import DeviceError, UsageError
from openfl_like.federation.devices.placement import check_device, environment_for, offered, place, visible, within

CPU_ONLY = ("cpu",)
ALL = ("cpu", "cuda:0", "cuda:1", "cuda:3")
GPUS = ("cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("allowed", "found", "offer"),
    [
        ("auto", (), ("cpu",)),
        ("auto", (1, 0), ("cpu", "cuda:0", "cuda:1")),
        (("cpu",), (0, 1), ("cpu",)),
        (("cuda",), (0, 1), ("cuda:0", "cuda:1")),
        (("cuda",), (), ()),
        (("cuda:1", "cpu"), (0, 1), ("cpu", "cuda:1")),
        (("cuda:10", "cuda:2"), (), ("cuda:2", "cuda:10")),  # the site knows better than its monitors
        (("cuda", "cuda:0", "cuda:7"), (0,), ("cuda:0", "cuda:7")),
    ],
)
def test_what_a_site_gives(allowed: str | Sequence[str], found: tuple[int, ...], offer: tuple[str, ...]) -> None:
    assert offered(allowed, found) == offer


@pytest.mark.parametrize(
    ("found", "restriction", "left"),
    [
        ((1, 0), None, (0, 1)),
        ((0, 1, 2, 3), "2,3", (2, 3)),
        ((0, 1), " 1 , 5", (1,)),
        ((0, 1), "", ()),
        ((0, 1), "-1", ()),
        ((0, 1), "NoDevFiles", ()),
        ((0, 1), "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", ()),
        ((0, 1), "0,", ()),
    ],
)
def test_what_the_envoy_itself_may_use(found: tuple[int, ...], restriction: str | None, left: tuple[int, ...]) -> None:
    assert visible(found, restriction) == left


@pytest.mark.parametrize(
    ("wish", "offer", "in_use", "device"),
    [
        ("cpu", ALL, (), "cpu"),
        ("cpu", CPU_ONLY, ("cpu",) * 9, "cpu"),
        ("cuda:1", ALL, ("cuda:1",) * 9, "cuda:1"),
        ("cuda", ALL, (), "cuda:0"),
        ("cuda", ALL, ("cuda:0",), "cuda:1"),
        ("cuda", ALL, ("cuda:1", "cuda:0"), "cuda:3"),
        ("cuda", ALL, ("cuda:0", "cuda:1", "cuda:3", "cuda:0", "cuda:3", "cpu"), "cuda:1"),
        ("auto", ALL, ("cuda:0",), "cuda:1"),
        ("auto", CPU_ONLY, (), "cpu"),
        ("auto", GPUS, ("cuda:0", "cuda:0", "cuda:1"), "cuda:1"),
        (("cuda:1", "cuda:0"), ALL, ("cuda:1",), "cuda:1"),  # in the plan's order, however much it is used
        (("cuda:7", "cuda"), ALL, ("cuda:0",), "cuda:1"),
        (("cuda", "cpu"), CPU_ONLY, (), "cpu"),
        (("cpu",), ALL, (), "cpu"),
    ],
)
def test_what_a_worker_gets(
    wish: str | Sequence[str], offer: tuple[str, ...], in_use: tuple[str, ...], device: str
) -> None:
    assert place(wish, offer, in_use) == device


@pytest.mark.parametrize(
    ("wish", "offer", "words"),
    [
        ("cuda", CPU_ONLY, "the plan wants cuda, this site gives cpu"),
        ("cuda:2", ALL, "the plan wants cuda:2, this site gives cpu, cuda:0, cuda:1, cuda:3"),
        ("cpu", GPUS, "the plan wants cpu, this site gives cuda:0, cuda:1"),
        (("cuda:8", "cuda:9"), ALL, "the plan wants cuda:8 or cuda:9, this site gives"),
        ("auto", (), "the plan wants auto, this site gives nothing"),
    ],
)
def test_what_cannot_be_had_is_refused(wish: str | Sequence[str], offer: tuple[str, ...], words: str) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        place(wish, offer)
    assert "collaborator.settings.device" in caught.value.cure


@given(st.integers(1, 6), st.integers(0, 40))
def test_workers_are_spread_evenly_over_the_gpus(gpus: int, workers: int) -> None:
    offer, placed = offered("auto", range(gpus)), list[str]()
    for _ in range(workers):
        placed.append(place("auto", offer, placed))
    counts = [placed.count(device) for device in offer[1:]]
    assert max(counts) - min(counts) <= 1
    assert "cpu" not in placed


def test_a_worker_sees_its_own_device_only() -> None:
    assert environment_for("cpu") == {"CUDA_VISIBLE_DEVICES": ""}
    assert "CUDA_VISIBLE_DEVICES" not in environment_for("auto")
    seen = environment_for("cuda:3")
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["CUDA_DEVICE_ORDER"]) == ("3", "PCI_BUS_ID")


@pytest.mark.parametrize(
    ("device", "wish", "name"),
    [
        ("cpu", "cpu", "cpu"),
        ("cpu", "auto", "cpu"),
        ("cuda:3", "cuda:3", "cuda:0"),
        ("cuda:3", "cuda", "cuda:0"),
        ("cuda:3", ("cuda", "cpu"), "cuda:0"),
        ("cuda:3", "auto", "auto"),
    ],
)
def test_what_its_device_is_called_there(device: str, wish: str | Sequence[str], name: str) -> None:
    assert within(device, wish) == name


@pytest.mark.parametrize("text", ["", "cuda", "auto", "gpu", "cuda:", "cuda:01", "cuda:-1", "CPU", "cuda:0,1"])
def test_what_is_no_device(text: str) -> None:
    with pytest.raises(UsageError, match="is not a device"):
        check_device(text)
    assert check_device("cuda:12") == "cuda:12"
