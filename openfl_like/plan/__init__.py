"""What was agreed: the plan, its canonical form and digest, and the workspace that travels with it.

Layer: above `errors` and `registry`, beside `tensors`, below everything else; all of that may import it. Pure: no
clock, no thread, no socket. `document` also reads the other YAML files that people write (director.yaml, shard.yaml).
"""
