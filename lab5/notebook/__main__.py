"""``python -m lab5.notebook``."""

from lab5.__main__ import run

run("notebook")
