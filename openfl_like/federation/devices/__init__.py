"""State of a site's machine: bounds, history, placement; and the devices that a simulation has in place of machines.

Imported by whatever may import `federation`.
"""
