"""``python -m vergence.cli``, as ``torchrun -m`` wants it."""

from vergence.cli.main import run

run()
