"""Who is who: identities, certificates, authorities and the table of which role may call what.

Layer: above `plan` and `tensors`, beside `federation`, below `wire`. Bytes in, bytes out; the only package that imports
cryptography. Imported by `wire`, `services`, `gateway`, `api`, `cli` and `testing`.
"""
