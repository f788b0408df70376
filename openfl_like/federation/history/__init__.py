"""What the committed events of an experiment say. Imported by whatever may import `federation`."""
