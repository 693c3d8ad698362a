"""What pyproject.toml requires is what the code imports, and files that repeat it agree with it."""

from __future__ import annotations

import ast
import itertools
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vergence.cli import main

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = {  # where the name to import is another one than the package's
    "faiss-cpu": "faiss",
    "mlflow-skinny": "mlflow",
    "open-clip-torch": "open_clip",
    "pillow": "PIL",
    "pylance": "lance",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
}
ELSEWHERE = {"gensim", "pecanpy", "ptls"}  # peers that need an environment of their own
NEEDED = re.compile(r"\bneed\(\s*\"([a-z_]+)[\w.]*\",\s*extra=\"(\w+)\"")


def modules(requirements: Iterable[str]) -> set[str]:
    names = [Requirement(line).name for line in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names if name != "vergence"}


@pytest.fixture(scope="module")
def sources() -> list[str]:
    return [path.read_text() for path in (CHECKOUT / "src").rglob("*.py")]


@pytest.fixture(scope="module")
def imported(sources) -> set[str]:
    """Names of packages that an import statement names, wherever it stands."""
    names = set()
    for node in itertools.chain.from_iterable(ast.walk(ast.parse(source)) for source in sources):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_every_required_package_is_imported(imported):
    assert modules(PROJECT["dependencies"]) - imported == set()


def test_every_import_is_declared(imported):
    optional = modules(line for lines in EXTRAS.values() for line in lines)
    declared = modules(PROJECT["dependencies"]) | optional | ELSEWHERE
    assert "torch" in imported
    assert imported - declared - sys.stdlib_module_names - {"vergence", "__main__"} == set()


def test_every_extra_that_an_error_names_brings_what_is_missing(sources):
    needed = {pair for source in sources for pair in NEEDED.findall(source)}
    assert ("starlette", "studio") in needed
    assert {(module, extra) for module, extra in needed if module not in modules(EXTRAS[extra])} == set()


def test_what_is_installed_for_tests_is_pinned():
    lines = [
        *PROJECT["dependencies"],
        *(line for name in ("studio", "scale", "mcp", "test", "docs", "dev") for line in EXTRAS[name]),
    ]
    wanted = {canonicalize_name(Requirement(line).name) for line in lines} - {"vergence"}
    pins = [Requirement(line) for line in (CHECKOUT / "constraints.txt").read_text().splitlines()[1:]]
    assert wanted - {canonicalize_name(pin.name) for pin in pins} == set()


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vergence {PROJECT['version']}\n"


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
