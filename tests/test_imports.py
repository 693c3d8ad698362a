"""What must start fast must not load what is slow."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import vergence

HEAVY = {"torch", "numpy", "pyarrow", "sklearn", "rich", "lightning_fabric", "matplotlib", "gradio"}
LIGHT = (
    "vergence vergence.catalog vergence.core.errors vergence.cli vergence.methods vergence.evaluate "
    "vergence.use"
)


def test_light_modules_load_nothing_heavy():
    code = f"import sys, {', '.join(LIGHT.split())}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_papers_and_help_load_nothing_heavy():
    code = (
        "import sys; from vergence.cli import main; main(['--help']); main(['papers']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (HEAVY | {"jsonargparse"}) & set(done.stderr.split()) == set()


@pytest.mark.parametrize("name", sorted(vergence.__all__))
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(vergence, name)
    assert callable(thing) or inspect.ismodule(thing)
    assert thing.__doc__
