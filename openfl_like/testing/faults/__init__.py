"""The fault laboratory: what breaks a federation on purpose, and what must hold. Imported by nobody else."""
