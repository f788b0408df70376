"""What every daemon needs: run, lock, liveness, threads. Imported by its sibling rooms, `doctor` and `cli`."""
