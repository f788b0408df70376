"""Shards: the data of one site, how it is described, split and checked.

Layer `data`, beside `wire`, `store` and `frameworks` (none of them imports another). Runtimes, services, the API and
the command line may import it. Files and packages that hold data are opened when a shard is built, never at import.
"""
