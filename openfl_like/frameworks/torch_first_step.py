"""The first step of PyTorch, done ahead: constructing an optimizer imports `torch._dynamo`, as long as PyTorch itself.

There is no supported way around that import, even when nothing is compiled.
"""

import torch
from torch import nn


def first_step() -> None:
    """Do one step with a tiny model; the random generator and the settings are afterwards what they were."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    generator = torch.get_rng_state()
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch takes it by position only
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = nn.functional.cross_entropy(model(torch.zeros(1, 2)), torch.zeros(1, dtype=torch.long))
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    optimizer.step()
    torch.use_deterministic_algorithms(deterministic, warn_only=only_warn)
    torch.set_rng_state(generator)
