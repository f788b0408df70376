"""The next letter, by two layers of LSTM (McMahan et al. 2017, arXiv:1602.05629, section 3: Shakespeare)."""

import torch
from torch import nn


class NextLetter(nn.Module):
    """Letters as 8 numbers each, two layers of 256 units, and a score for each letter at each place.

    As the Shakespeare model of Reddi et al. 2021 (arXiv:2003.00295), which has 820,522 parameters for 90 letters; here
    it is 822,570, since PyTorch's LSTM has two biases for each gate where theirs has one.

    Args:
        letters: How many letters there are.
    """

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, 8)
        self.recurrent = nn.LSTM(8, 256, num_layers=2, batch_first=True)
        self.head = nn.Linear(256, letters)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Letters ``[n, length]``, int64, to scores ``[n, letters, length]``."""
        found, _ = self.recurrent(self.embedding(text))
        scores: torch.Tensor = self.head(found)
        return scores.transpose(1, 2)
