"""State of a site's machine: bounds, history, placement. Imported by whatever may import `federation`."""
