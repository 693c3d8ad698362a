# `make demo` and `make test` do everything on a fresh machine: environment, install, run.
PYTHON ?= python3
BIN := .venv/bin
# One worker stands for a plain CPU: torch leaves vector instructions (and so bf16) alone. Two threads have both cores
# to themselves first: beside another process their barriers would cost minutes.
WORKERS := --tx popen//env:ATEN_CPU_CAPABILITY=default --tx popen
TWO_THREADS := tests/losses tests/nets tests/engine/test_loop.py
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint types docs wheel clean

demo: .venv/.ready
	rm -rf vergence-demo
	$(BIN)/vergence demo --out vergence-demo

test: .venv/.dev
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -q $(TWO_THREADS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) --dist worksteal -q

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/.dev
	$(BIN)/mypy

docs: .venv/.dev
	$(BIN)/mkdocs build --strict --quiet

wheel: .venv/.dev
	rm -rf dist
	$(BIN)/python -m build > /dev/null
	.ci/wheel

clean:
	rm -rf .venv vergence-demo site dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vergence needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.ready: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing vergence into .venv (torch is large: a minute or more)"
	$(INSTALL) -e .
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing vergence and its tools into .venv (torch is large: a minute or more)"
	$(INSTALL) -e '.[dev]'
	-@$(BIN)/python -m compileall -q -j 0 .venv/lib > /dev/null  # once, not in each of the many processes of the tests
	@touch $@ .venv/.ready
