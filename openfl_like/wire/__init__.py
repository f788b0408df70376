"""gRPC between the parties: the only package that imports grpc and the generated messages.

Layer: above `federation`, `pki`, `plan`, `tensors`; imported by `runtimes`, `services` and what is above them.
"""
