"""What must start fast must not load what is slow."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vergence

HOME = Path(vergence.__file__).parent
HEAVY = {"torch", "numpy", "pyarrow", "sklearn", "rich", "lightning_fabric", "matplotlib", "starlette"}
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


def test_no_module_has_the_name_of_a_public_function():
    functions = {name for name in vergence.__all__ if inspect.isfunction(getattr(vergence, name))}
    assert {"curate", "explain", "compare", "search"} <= functions
    modules = [module.name for module in pkgutil.walk_packages([str(HOME)], "vergence.")]
    assert len(functions) > 10 and len(modules) > 300
    assert [name for name in modules if name.rpartition(".")[2] in functions] == []


@pytest.mark.parametrize("stub", sorted(HOME.rglob("__init__.pyi")), ids=lambda path: path.parent.name)
def test_no_package_exports_a_name_that_one_of_its_modules_has(stub):
    """Else importing the module puts it in the place of what is exported."""
    imports = [node for node in ast.walk(ast.parse(stub.read_text())) if isinstance(node, ast.ImportFrom)]
    exported = {name.asname for node in imports if node.module for name in node.names}
    modules = {module.name for module in pkgutil.iter_modules([str(stub.parent)])}
    assert exported and modules and exported & modules == set()


def test_functions_and_modules_do_not_hide_each_other():
    code = (
        "import vergence as vg; vg.learn, vg.measure; import vergence.methods.image.encoders as E; E.build; "
        "import vergence.evaluate.protocols.knn, vergence.train, vergence.engine.encoders; "
        "assert all(callable(f) for f in (vg.learn, vg.measure, vg.evaluate.knn, vg.load, vg.encoder))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_the_packages():
    assert vergence.__version__ == version("vergence")
    with pytest.raises(AttributeError, match="__versions__"):
        _ = vergence.__versions__
