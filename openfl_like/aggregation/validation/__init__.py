"""Validators that compare the updates of a round with each other."""
