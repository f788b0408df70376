"""Monitors of a site's machine, and the device of a worker. Imported by the daemons, the simulation and `doctor`."""
