"""What a model is between processes: named arrays in one safetensors file, and the manifest that identifies it.

Layer: above `registry`, beside `plan`; every higher layer may import it. It needs numpy, ml_dtypes and blake3, and no
framework.
"""
