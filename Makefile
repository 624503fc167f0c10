# make bench | make test | make test ARGS="-m slow"; on the user's own data: DATA=folder WEIGHTS=file make bench
PYTHON ?= python3
# TORCH=2.15 installs that torch (constraints-torch2.15.txt) into an environment of its own.
TORCH ?=
VENV ?= .venv$(if $(TORCH),-torch$(TORCH))
# Where to get torch from; see docs/install.md for CPU-only wheels.
TORCH_INDEX ?=
DATA ?=
WEIGHTS ?=
# BENCH=full measures the full matrix with every runtime; ARGS passes more words to pytest.
BENCH ?=
# EXTRAS=runtimes installs every runtime, EXTRAS=openvino that one; pyproject.toml lists them.
EXTRAS ?= $(if $(filter full,$(BENCH)),runtimes)
ARGS ?=

CONSTRAINTS := $(if $(TORCH),$(VENV)/constraints.txt,constraints.txt)
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)
RUN := $(VENV)/bin/python -m
# The files in the order of their names: the few long tests of some files would be the last by far.
TESTS = OMP_NUM_THREADS=1 $(RUN) pytest tests --numprocesses 2 --dist loadfile --no-loadscope-reorder --benchmark-disable --timeout 600 -m "$(if $(TORCH),torch and )not slow"
COMMA := ,
BENCH_MADE := $(VENV)/.bench$(if $(EXTRAS),-$(subst $(COMMA),-,$(EXTRAS)))
OPTIONS := $(if $(DATA),--data "$(DATA)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(filter full,$(BENCH)),--full)

.PHONY: bench test coverage faults lint install clean
.DEFAULT_GOAL := bench

bench: $(BENCH_MADE)
	$(RUN) pytest bench $(OPTIONS) $(ARGS)

test: lint
	$(TESTS) $(ARGS)

# Hostile files, mutated ones for FUZZ_S seconds of CPU, full disks, and KILLS kills (SECURITY.md).
FUZZ_S ?= 1800
KILLS ?= 200
faults: $(VENV)/.test
	INDOOR_FUZZ_S=$(FUZZ_S) INDOOR_NUM_KILLS=$(KILLS) OMP_NUM_THREADS=1 $(RUN) pytest tests/test_hostile_*.py \
	    tests/test_data_archives.py tests/test_flipped_bits.py tests/test_files_shared.py \
	    tests/test_faults_disk.py tests/test_fuzz.py tests/test_faults_killed.py -rP --durations 10 $(ARGS)

coverage: lint
	$(TESTS) --cov --cov-report=term $(ARGS)

lint: $(VENV)/.test
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

install: $(BENCH_MADE)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"make: {sys.executable} is Python {v.major}.{v.minor}; expected 3.11 or newer; call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

ifneq ($(TORCH),)
$(CONSTRAINTS): constraints.txt constraints-torch$(TORCH).txt | $(VENV)/bin/python
	sed '/^torch/d' constraints.txt | cat - constraints-torch$(TORCH).txt > $@

endif
$(VENV)/.torch: $(CONSTRAINTS) | $(VENV)/bin/python
	@echo "installing torch (the default Linux wheel is large: several minutes)"
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch torchvision
	@touch $@

$(BENCH_MADE): pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[page$(if $(EXTRAS),$(COMMA)$(EXTRAS))]'
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[dev,page,runtimes]'
	@touch $@

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build ./*.egg-info
