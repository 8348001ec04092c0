# Everything runs in .venv, which the first target that needs it makes.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first Python that is new enough: `make PYTHON=/path/to/python3 setup` takes another one.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name && break; done)

.PHONY: help setup demo test again unit check bench torture format clean

help:
	@echo "make demo     a whole conversation with a scripted model: no key, no network"
	@echo "make test     all tests; those that need another program say so and are skipped"
	@echo "make again    what failed in the last run, one test at a time"
	@echo "make unit     the tests that start no programs, on all cores"
	@echo "make check    format, lint, types, layers and sizes"
	@echo "make bench    measure speed and memory against the budgets"
	@echo "make torture  a thousand kills and ten thousand power cuts: nothing may be lost (half an hour)"
	@echo "make format   format the code"
	@echo "make setup    only make .venv with the command .venv/bin/hermes-editor"
	@echo "make clean    remove .venv and caches"

setup: $(READY)
	@:

# Made anew when the environment does not run, which is so after its Python was removed.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found."; \
		echo "Install it, or name it: make PYTHON=/path/to/python3 setup"; exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "$(PYTHON) is older than Python 3.11, which is needed."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments."; \
		echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (the first time takes a minute or two)"
	@$(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m compileall -q hermes_acp
	@touch $@

demo: $(READY)
	@$(BIN)/hermes-editor demo

test: $(READY)
	$(BIN)/pytest -n auto --dist loadfile

again: $(READY)
	$(BIN)/pytest --last-failed --last-failed-no-failures none

# What runs inside one process; the tests of the other folders start programs.
UNIT := tests/agent tests/llm tests/memory tests/policy tests/server tests/storage

# Nothing here is about disks: where files can lie in memory, they do. What pytest compiles is kept for the next run.
unit: export PYTEST_DEBUG_TEMPROOT = $(wildcard /dev/shm)
unit: export PYTHONDONTWRITEBYTECODE =
unit: $(READY)
	$(BIN)/pytest -n auto --dist loadfile --hypothesis-profile=unit -m "not slow and not programs" $(UNIT)

check: export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_sizes.py

bench: $(READY)
	@$(BIN)/python -m tests.bench

torture: $(READY)
	@$(BIN)/python -m tests.torture

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

clean:
	rm -rf $(VENV) .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
