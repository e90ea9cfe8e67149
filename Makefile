# make demo   sets everything up in .venv and runs the main job on a synthetic corpus
# make test   sets up what the tests need and passes them
# make check  lint and tests, what CI runs;  also: setup, lint, bench, test-asan, clean

PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
NATIVE := CMakeLists.txt pyproject.toml constraints.txt $(shell find csrc -type f)

.PHONY: demo test test-asan lint check bench setup clean
.DELETE_ON_ERROR:

setup: $(VENV)/installed
demo: $(VENV)/installed
	$(BIN)/clinaug-fast demo clinaug-demo

test: $(VENV)/tested
	$(BIN)/python -m pytest

test-asan: $(VENV)/tested
	$(BIN)/python tests/under_asan.py

lint: $(VENV)/linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint test

bench: $(VENV)/benched
	$(BIN)/python -m bench

clean:
	rm -rf build $(VENV) clinaug-demo

# One stamp a set of packages. The package is installed in place: Python edits live at once, C++ edits are rebuilt here.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch comes first and pinned: named alone or by another package it would pull its CUDA build. The build's own needs are
# installed too, so that an edit of C++ rebuilds only what changed.
$(VENV)/installed: $(NATIVE) | $(VENV)/bin/python
	$(PIP) torch cmake ninja pybind11 scikit-build-core
	$(PIP) --no-build-isolation --editable .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(PIP) --no-build-isolation --editable '.[test]'
	touch $@

$(VENV)/linted: | $(VENV)/bin/python
	$(PIP) ruff
	touch $@

$(VENV)/benched: $(VENV)/installed
	$(PIP) --no-build-isolation --editable '.[bench]'
	touch $@
