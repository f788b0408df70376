"""Which device of a site a worker gets: what the plan wishes, within what the site gives.

Devices are ``cpu`` and ``cuda:0``, ``cuda:1`` …, numbered as `GpuStatistics.index`; ``cuda`` is any GPU.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from openfl_like.errors import DeviceError, UsageError
from openfl_like.plan.schema import DEVICE

AUTO = "auto"
CPU = "cpu"
ANY_GPU = "cuda"
_HIDDEN = {"", "-1", "none", "void"}


def gpu_name(index: int) -> str:
    """Name the GPU with this number."""
    return f"{ANY_GPU}:{index}"


def gpu_index(device: str) -> int:
    """Return the number of a GPU."""
    return int(device.partition(":")[2])


def check_device(text: str) -> str:
    """Return the name of one device as it is; raises UsageError for anything else."""
    if text == ANY_GPU or not DEVICE.fullmatch(text):
        raise UsageError(f"'{text}' is not a device", cure="name one: cpu, cuda:0, cuda:1 …")
    return text


def offered(allowed: str | Sequence[str], found: Collection[int]) -> tuple[str, ...]:
    """Return the devices that a site gives to workers, CPU first, then GPUs by number.

    Args:
        allowed: ``auto`` (all there are), or the site's list, in which ``cuda`` is every GPU that was found.
        found: The numbers of the GPUs that its monitors found.
    """
    listed = [CPU, ANY_GPU] if allowed == AUTO else list(allowed)
    gpus = set(found) if ANY_GPU in listed else set()
    gpus |= {gpu_index(device) for device in listed if device not in {CPU, ANY_GPU}}
    return (*([CPU] if CPU in listed else []), *(gpu_name(index) for index in sorted(gpus)))


def visible(found: Collection[int], restriction: str | None) -> tuple[int, ...]:
    """Return the GPUs that this value of ``CUDA_VISIBLE_DEVICES`` lets a process use; None: all of them.

    A restriction that is not made of numbers (UUIDs) hides all: nobody knows which they are.
    """
    if restriction is None:
        return tuple(sorted(found))
    words = [word.strip() for word in restriction.split(",")]
    if restriction.strip().lower() in _HIDDEN or not all(word.isascii() and word.isdecimal() for word in words):
        return ()
    return tuple(sorted(set(found) & {int(word) for word in words}))


def place(wish: str | Sequence[str], offer: Sequence[str], in_use: Iterable[str] = ()) -> str:
    """Return the device for one more worker.

    Args:
        wish: The plan's: a device, ``cuda`` for any GPU, ``auto`` for a GPU or else the CPU, or a list of devices of
            which the first that can be had is taken.
        offer: What the site gives.
        in_use: The device of every worker that is there; of several GPUs that may be taken it is the least used one,
            and of these the first.

    Raises:
        DeviceError: If none of what is wished for is given.
    """
    workers = Counter(in_use)
    wishes = [ANY_GPU, CPU] if wish == AUTO else [wish] if isinstance(wish, str) else list(wish)
    for one in wishes:
        fitting = [device for device in offer if device == one or (one == ANY_GPU and device != CPU)]
        if fitting:
            return min(fitting, key=lambda device: (workers[device], offer.index(device)))
    wanted = wish if isinstance(wish, str) else " or ".join(wish)
    raise DeviceError(
        f"the plan wants {wanted}, this site gives {', '.join(offer) or 'nothing'}",
        cure="change collaborator.settings.device in the plan (auto takes what there is), or devices in the site's "
        "shard.yaml",
    )


def within(device: str, wish: str | Sequence[str]) -> str:
    """Return what a device is called in a process that sees no other; see `environment_for`.

    A GPU that was found for ``auto`` stays ``auto``: whether the worker's framework can use it only that knows.
    """
    if device == CPU:
        return CPU
    return AUTO if wish == AUTO else gpu_name(0)


def environment_for(device: str) -> dict[str, str]:
    """Return the environment variables of a process that is to see this device only; ``auto``: those that we see."""
    if device == CPU:
        return {"CUDA_VISIBLE_DEVICES": ""}
    return {
        **({} if device == AUTO else {"CUDA_VISIBLE_DEVICES": str(gpu_index(device))}),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as the monitors count
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS is not deterministic
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # or TensorFlow takes all of the GPU's memory
    }
