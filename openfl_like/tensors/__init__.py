"""What a model is between processes: named arrays in one safetensors file, and the manifest that identifies it.

Updates may be compressed: `compression` has the ways, `encoded` the files; `lossless` and `packed` do the
same for packing them without loss.

Layer: above `registry`, beside `plan`; every higher layer may import it. It needs numpy, ml_dtypes, blake3,
zstandard and (for the settings of compressions) pydantic, and no framework.
"""
