"""How the processes of an experiment are kept going. Imported by whatever may import `federation`."""
