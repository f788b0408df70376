"""Many sites trained at once, their models stacked: how, and what stands in the way."""
