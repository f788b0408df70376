"""What surrounds a task at a site: how much of it may be done, and the parts of the plan that do it."""
