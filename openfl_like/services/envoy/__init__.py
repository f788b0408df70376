"""The Envoy: one site's key, shard and experiments. Imported by `cli`."""
