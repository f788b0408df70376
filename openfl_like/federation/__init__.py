"""The rules of a federation: who takes part, who is asked for what, what counts, when it ends.

Layer: above `plan` and `tensors`, beside `pki`; the loop, the services and the wire may import it. It is pure: no
clock, no socket, no thread and no randomness that is not passed in. `participation` says who takes part and is asked,
`history` explains what was announced, `devices` is about a site's machine, `supervision` about keeping the processes of
an experiment going.
"""
