# make demo   sets everything up in .venv and runs the main job on a synthetic corpus
# make test   sets up what the tests need and passes them
# make check  lint and tests, what CI runs;  also: setup, lint, bench, test-asan, cuda-archs, clean
# make test-cuda, bench-cuda  on a machine with a GPU: PYTHON names an interpreter that has a CUDA build of torch

PYTHON ?= $(firstword $(foreach version,11 12 13,$(shell command -v python3.$(version))) python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
EDITABLE := $(PIP) --no-build-isolation --config-settings=cmake.define.CLINAUG_DEVICE_PHASES=ON --editable
NATIVE := CMakeLists.txt pyproject.toml constraints.txt $(shell find csrc -type f)

.PHONY: demo test test-asan lint check bench setup clean cuda-site test-cuda bench-cuda cuda-archs
.DELETE_ON_ERROR:

setup: $(VENV)/installed
demo: $(VENV)/installed
	$(BIN)/clinaug-fast demo clinaug-demo

test: $(VENV)/tested
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-asan: $(VENV)/tested
	$(BIN)/python tests/under_asan.py

lint: $(VENV)/linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint test

bench: $(VENV)/benched
	$(BIN)/python -m bench log_mel preprocess
	MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 $(BIN)/python -m bench residual_se

# On a machine with a GPU, and without a network: with the packages that PYTHON has. WHEELS may name a folder with wheels of
# what it lacks, pydantic say. Nothing is installed outside build/.
CUDA_SITE := build/cuda-site
cuda-site:
	rm -rf $(CUDA_SITE)
	$(if $(WHEELS),$(PYTHON) -m pip install --quiet --no-index --no-deps --target $(CUDA_SITE) $(WHEELS)/*.whl)
	$(PYTHON) -m pip install --quiet --no-index --no-deps --no-build-isolation --target $(CUDA_SITE) \
		--config-settings=cmake.define.CLINAUG_CUDA=ON --config-settings=cmake.define.CLINAUG_DEVICE_PHASES=ON .

# The files with tests for a GPU; the others need packages that such a machine may lack.
CUDA_TESTS := $(addprefix tests/test_,log_mel_cuda.py log_mel_kernel.py log_mel.py residual_se_cuda.py preprocess_device.py cli_train.py)
test-cuda: cuda-site
	CLINAUG_REQUIRE_CUDA=1 PYTHONPATH="$(CURDIR)/$(CUDA_SITE)" $(PYTHON) -m pytest -m cuda -rs $(CUDA_TESTS)

bench-cuda: cuda-site
	PYTHONPATH="$(CURDIR)/$(CUDA_SITE)" $(PYTHON) -m bench log_mel_cuda residual_se_cuda

# Compiles the CUDA sources for every architecture that we name, and says which passed.
CUDA_ARCHS := 75 80 90 100 120
cuda-archs: $(VENV)/installed
	@failed=; for arch in $(CUDA_ARCHS); do folder=build/cuda-sm_$$arch; \
		if PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B $$folder -G Ninja -DCLINAUG_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=$$arch \
			-DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)" >$$folder.log 2>&1 \
			&& PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build $$folder --target clinaug_cuda >>$$folder.log 2>&1; \
		then echo "sm_$$arch: passed"; else echo "sm_$$arch: failed, see $$folder.log"; failed=1; fi; done; test -z "$$failed"

clean:
	rm -rf build $(VENV) clinaug-demo

# One stamp a set of packages. The package is installed in place: Python edits live at once, C++ edits are rebuilt here.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# torch comes first and pinned: named alone or by another package it would pull its CUDA build. The build's own needs are
# installed too, so that an edit of C++ rebuilds only what changed.
$(VENV)/installed: $(NATIVE) | $(VENV)/bin/python
	$(PIP) torch cmake ninja pybind11 scikit-build-core
	$(EDITABLE) .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(EDITABLE) '.[test]'
	touch $@

$(VENV)/linted: | $(VENV)/bin/python
	$(PIP) ruff
	touch $@

$(VENV)/benched: $(VENV)/installed
	$(EDITABLE) '.[bench]'
	touch $@
