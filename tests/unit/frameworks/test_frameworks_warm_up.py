import subprocess
import sys

import pytest

from openfl_like.processes.child import clean_environment

# Whatever is drawn, counted or set anew in the process that was warmed up must be as in one that was not.
STATE = """
import sys
import numpy, torch
{warm_up}
assert ("torch._dynamo" in sys.modules) is {imported}
print(torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype())
print(torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
torch.set_num_interop_threads(1)
torch.manual_seed(7)
torch.use_deterministic_algorithms(True)
model = torch.nn.Linear(64, 32)
optimizer = torch.optim.Adam(model.parameters())
for _ in range(3):
    optimizer.zero_grad()
    model(torch.rand(16, 64)).square().mean().backward()
    optimizer.step()
print(numpy.ascontiguousarray(model.weight.detach()).tobytes().hex())
"""
WARM_UP = "from openfl_like.frameworks.warm_up import warm_up\nwarm_up(['torch'])"


def _state(warm_up: str, imported: str) -> str:
    code = STATE.format(warm_up=warm_up, imported=imported)
    command = [sys.executable, "-c", code]
    environment = clean_environment({"OMP_NUM_THREADS": "1"})
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.children
@pytest.mark.torch
@pytest.mark.slow
def test_a_process_that_was_warmed_up_computes_the_same_bytes_and_has_the_first_step_behind_it() -> None:
    assert _state(WARM_UP, "True") == _state("", "False")


@pytest.mark.torch
@pytest.mark.parametrize(("mode", "warn_only"), [(False, False), (True, False), (True, True)])
def test_a_first_step_leaves_no_trace(*, mode: bool, warn_only: bool) -> None:
    torch = pytest.importorskip(
        "torch", reason="the test is PyTorch's; a module of this name is collected in every run"
    )
    from openfl_like.frameworks.torch_first_step import first_step  # noqa: PLC0415 - as above

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        first_step()
        assert torch.equal(torch.rand(4), expected)
        assert torch.are_deterministic_algorithms_enabled() is mode
        assert torch.is_deterministic_algorithms_warn_only_enabled() is warn_only
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
