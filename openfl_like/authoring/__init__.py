"""What a plan's author does at home: estimates, baselines, models, requirements. Imported by `cli` and `testing`."""
