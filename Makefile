# make demo   see it work on simulated clicks
# make test   linter, type checker, tests
# make docs   put the benchmarks' last results into the tables, and build the site: docs/_build/html/index.html
# Needs Python 3.11 or newer and pip; everything else goes into .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# pytest shares out the cores; threads inside each test would fight over them.
JOBS ?= auto
TENSORFLOW := TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install demo test docs lint format unit clean

help:
	@sed -n '1,/^$$/s/^# *//p' Makefile

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev,docs]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/nid demo $(ARGS)

docs: $(STAMP)
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m sphinx -W -n -E --keep-going -q -d docs/_build/doctrees docs docs/_build/html
	@echo docs/_build/html/index.html

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Keras 3, and tf_keras with DeepCTR, in processes of their own: one process cannot be asked for both.
unit: $(STAMP)
	$(THREADS) $(BIN)/python -m pytest -n $(JOBS) $(ARGS)
	$(TENSORFLOW) $(THREADS) $(BIN)/python -m pytest -n $(JOBS) $(ARGS) tests/adapters/tensorflow
	TF_USE_LEGACY_KERAS=1 $(TENSORFLOW) $(THREADS) $(BIN)/python -m pytest -n $(JOBS) $(ARGS) tests/adapters/tensorflow

# Run one after the other, also under make -j: pytest's summary closes the output.
test: $(STAMP)
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory unit

clean:
	rm -rf $(VENV) build docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache
