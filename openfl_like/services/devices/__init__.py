"""Monitors of a site's machine, and the device of a worker. Imported by the Envoy and `doctor`."""
