"""What every daemon needs: run, lock, liveness, tasks, threads. Imported by its sibling rooms and `cli`."""
