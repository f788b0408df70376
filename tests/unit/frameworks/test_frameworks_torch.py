import os

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import DeviceError, TensorError, UsageError
from openfl_like.federation.failure import one_line
from openfl_like.frameworks.runner import RunnerContext, TaskResult
from openfl_like.frameworks.torch import TorchLoader, TorchRunner
from openfl_like.frameworks.torch_arrays import to_numpy, to_torch

pytestmark = pytest.mark.torch

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def shard(targets: np.ndarray | None = None, rows: int = 20) -> ArrayShard:
    random = np.random.default_rng(0)
    samples = random.normal(size=(rows, 3)).astype(np.float32)
    truth = (samples[:, 0] > 0).astype(np.int64) if targets is None else targets
    data = Dataset(samples, truth)
    return ArrayShard({"train": data, "validate": data}, "random numbers", (-10.0, 10.0))


class Net(TorchRunner):
    """Batch normalisation brings buffers, one of them a counter."""

    outputs = 1

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, self.outputs))


class TwoOutputs(Net):
    outputs = 2


class Mixed(TorchRunner):
    def build_model(self) -> nn.Module:
        model = nn.Linear(3, 1).to(torch.bfloat16)
        model.register_buffer("counter", torch.tensor(2**53 + 1))
        return model


def build(kind: type[TorchRunner], data: ArrayShard | None = None) -> TorchRunner:
    runner = kind(TorchLoader(data or shard(), batch_size=8), RunnerContext())
    runner.initialise(1)
    return runner


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
def test_every_dtype_comes_back_bit_for_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    raw = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    there = to_numpy(raw)
    back = to_torch(there)
    assert back.dtype == dtype
    assert there.dtype.name == str(dtype).removeprefix("torch.")
    assert torch.equal(back, raw)


def test_to_numpy_shares_memory() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.zeros(3, dtype=dtype)
        to_numpy(tensor)[1] = 1
        assert tensor[1] == 1


def test_bfloat16_and_large_counters_are_exact() -> None:
    tensors = {name: array.copy() for name, array in build(Mixed).get_tensors().items()}
    assert tensors["weight"].dtype == ml_dtypes.bfloat16
    assert tensors["counter"] == 2**53 + 1
    other = build(Mixed)
    tensors["counter"] = np.array(2**60 + 1)
    other.set_tensors(tensors)
    assert {name: array.tobytes() for name, array in other.get_tensors().items()} == {
        name: array.tobytes() for name, array in tensors.items()
    }


def test_read_only_arrays_are_taken() -> None:
    runner = build(Net)
    tensors = {name: array.copy() for name, array in runner.get_tensors().items()}
    for array in tensors.values():
        array.flags.writeable = False
    runner.set_tensors(tensors)
    runner.train()
    assert not np.array_equal(runner.get_tensors()["0.weight"], tensors["0.weight"])


def test_nothing_is_set_when_one_tensor_does_not_fit() -> None:
    runner = build(Net)
    before = {name: array.copy() for name, array in runner.get_tensors().items()}
    wrong = {name: array + 1 for name, array in before.items()}
    wrong["4.bias"] = wrong["4.bias"].astype(np.float64)
    with pytest.raises(TensorError, match=r"'4.bias' is float64\[1\], not float32\[1\]"):
        runner.set_tensors(wrong)
    assert all(np.array_equal(array, before[name]) for name, array in runner.get_tensors().items())


def test_a_binary_classifier_reports_its_auc() -> None:
    for kind in (Net, TwoOutputs):
        assert build(kind).validate().metrics.keys() == {"loss", "accuracy", "auc"}


def test_a_regression_reports_its_loss_alone() -> None:
    data = shard(np.random.default_rng(2).normal(size=(20, 1)).astype(np.float32))
    runner = build(Net, data)
    result = runner.validate()
    model = runner.model.eval()
    outputs = model(torch.from_numpy(data.get_dataset("validate").samples)).detach().numpy()
    expected = float(np.mean((outputs - data.get_dataset("validate").targets) ** 2))
    assert result.metrics == {"loss": pytest.approx(expected, rel=1e-5)}


def test_validating_changes_nothing() -> None:
    runner = build(Net)
    before = {name: array.copy() for name, array in runner.get_tensors().items()}
    assert runner.validate() == runner.validate()
    assert all(np.array_equal(array, before[name]) for name, array in runner.get_tensors().items())


def test_the_weights_are_updated_and_counted() -> None:
    result = build(Net).train(epochs=2)
    assert result.num_samples == 20


def test_the_threads_of_the_context_are_used() -> None:
    before = torch.get_num_threads()
    try:
        runner = Net(TorchLoader(shard()), RunnerContext(threads=2))
        runner.begin(0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_batch_of_one_that_a_layer_does_not_take_is_told_and_can_be_left_out() -> None:
    runner = build(Net, shard(rows=17))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel") as caught:
        runner.train()
    assert "drop_last" in one_line(caught.value)
    runner.loader = TorchLoader(shard(rows=17), batch_size=8, drop_last=True)
    assert runner.train(epochs=2).num_samples == 17
    assert sum(len(samples) for samples, _ in runner.loader.train_batches(1, 0)) == 16
    with pytest.raises(UsageError, match="17 samples fill no batch of 32"):
        TorchLoader(shard(rows=17), batch_size=32, drop_last=True)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_size"):
        TorchLoader(shard(), batch_size=0)


@pytest.mark.parametrize(
    ("device", "there", "expected"),
    [("cpu", True, "cpu"), ("auto", False, "cpu"), ("auto", True, "cuda"), ("cuda:0", True, "cuda:0")],
)
def test_the_device_is_the_one_that_was_given(
    monkeypatch: pytest.MonkeyPatch, device: str, *, there: bool, expected: str
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "as it was")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert Net(TorchLoader(shard()), RunnerContext(device=device)).device == torch.device(expected)
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) is expected.startswith("cuda")


def test_a_gpu_that_torch_does_not_find_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"given 'cuda:0', but this PyTorch \(.*\) finds no GPU"):
        Net(TorchLoader(shard()), RunnerContext(device="cuda:0"))


class Keeping(nn.Linear):
    """A layer that keeps something besides tensors in its state, as quantisers do."""

    def get_extra_state(self) -> dict[str, int]:
        return {"scale": 3}

    def set_extra_state(self, state: object) -> None:
        del state


class OddModel(TorchRunner):
    kind = ""

    def build_model(self) -> nn.Module:
        if self.kind == "extra":
            return nn.Sequential(Keeping(3, 1))
        if self.kind == "lazy":
            return nn.Sequential(nn.LazyLinear(1))
        model = nn.Linear(3, 1)
        odd = {"float8": torch.ones(2).to(torch.float8_e4m3fn), "sparse": torch.ones(2, 2).to_sparse()}
        model.register_buffer("odd", odd[self.kind])
        return model


@pytest.mark.parametrize(
    ("kind", "told", "cure"),
    [
        ("extra", "'0._extra_state' in the state_dict is a dict, not a tensor", "get_extra_state"),
        ("lazy", "tensor '0.weight' is uninitialized: its layer is made lazily", "build_model"),
        ("float8", "tensor 'odd' (float8_e4m3fn, strided) cannot be written", "persistent=False"),
        ("sparse", "tensor 'odd' (float32, sparse_coo) cannot be written", "persistent=False"),
    ],
)
def test_a_state_that_no_model_file_holds_is_told_by_name(
    kind: str, told: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OddModel, "kind", kind)
    with pytest.raises(TensorError) as caught:
        build(OddModel).get_tensors()
    assert told in caught.value.message
    assert cure in caught.value.cure


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [("module.", "DataParallel"), ("_orig_mod.", "torch.compile"), ("model.", "a module of Lightning")],
)
def test_tensors_with_the_prefix_of_a_wrapper_are_told_whose_it_is(prefix: str, wrapper: str) -> None:
    runner = build(Net)
    given = {f"{prefix}{name}": array for name, array in runner.get_tensors().items()}
    with pytest.raises(TensorError) as caught:
        runner.set_tensors(given)
    assert caught.value.cure.startswith(f"all names begin with '{prefix}', which {wrapper} adds: save the state_dict")
    assert "and so are 4 more" in caught.value.message


class OldContext:
    """What a notebook made before there were algorithms."""

    device, threads, opt_treatment, names_optimizer = "cpu", 1, "RESET", False


def test_a_context_of_a_tests_own_needs_no_algorithm() -> None:
    runner = TwoOutputs(TorchLoader(shard(), batch_size=8), OldContext())  # type: ignore[arg-type]  # what is tested
    runner.initialise(1)
    assert runner.train().num_samples == 20


class Slowing(Net):
    """Trains more slowly the second time, on other parameters, with the optimizer that comes with the platform."""

    def build_model(self) -> nn.Module:
        return nn.Linear(3, 2)

    def change(self) -> None:
        """Nothing yet."""

    def train(self, epochs: int = 1, learning_rate: float | None = None) -> TaskResult:
        self.change()
        return super().train(epochs, learning_rate)


class OtherRate(Slowing):
    def change(self) -> None:
        self.optimizer.param_groups[0]["lr"] *= 0.5


class OtherParameters(Slowing):
    def change(self) -> None:
        self.model.weight = nn.Parameter(self.model.weight.detach() * 2)  # type: ignore[operator]  # linear


@pytest.mark.parametrize("kind", [Slowing, OtherRate, OtherParameters])
def test_every_assignment_has_an_optimizer_as_new(kind: type[Slowing]) -> None:
    runner = build(kind)
    start = {name: array.copy() for name, array in runner.get_tensors().items()}
    ends = []
    for _ in range(3):
        runner.begin(7)
        runner.set_tensors(start)
        runner.train()
        ends.append({name: array.tobytes() for name, array in runner.get_tensors().items()})
    assert ends[0] == ends[1] == ends[2]
    assert ends[0] != {name: array.tobytes() for name, array in start.items()}


def test_the_optimizer_of_the_platform_is_built_once_as_long_as_nobody_changes_it() -> None:
    runner = build(Slowing)
    optimizers = []
    for _ in range(2):
        runner.begin(7)
        runner.set_tensors(runner.get_tensors())
        runner.train()
        optimizers.append(runner.optimizer)
    assert optimizers[0] is optimizers[1]


class NoGradient(Slowing):
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.detach().mean() * len(targets)


class NoScalar(Slowing):
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.mean(1) * len(targets)


@pytest.mark.parametrize(
    ("kind", "told"),
    [(NoGradient, "does not require grad"), (NoScalar, "8 elements cannot be converted to Scalar")],
)
def test_what_torch_says_of_a_loss_is_told(kind: type[Slowing], told: str) -> None:
    runner = build(kind)
    with pytest.raises(RuntimeError, match=told):
        runner.train()
