"""``python -m lab5.report``."""

from lab5.__main__ import run

run("report")
