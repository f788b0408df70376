"""The least that one process needs before it has trained with PyTorch: its import, a model, and an optimizer's step.

The model, the optimizer and the size of a batch are those of the workspace template torch_digits.
"""

import torch
from torch import nn

torch.set_num_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loss = nn.functional.cross_entropy(model(torch.rand(64, 8, 8)), torch.zeros(64, dtype=torch.long))
optimizer.zero_grad()
loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
optimizer.step()
