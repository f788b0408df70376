"""The least that one process needs before it has trained with NumPy: its import, and a step."""

import numpy as np

model = np.zeros(1000, np.float32)
np.add(model, np.float32(1), out=model)
