"""Model files of other programs: safetensors, `.npz`, `state_dict` files of PyTorch, archives of Keras."""
