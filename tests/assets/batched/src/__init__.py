"""Models that can be trained for many sites at once, and some that cannot."""
