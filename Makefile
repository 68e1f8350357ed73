# clearice: `make help` lists the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CORES ?= $(shell nproc 2>/dev/null || echo 2)
SNAKEMAKE := $(BIN)/snakemake --workflow-profile workflow/profiles/default

.PHONY: help setup demo test test-long test-slurm lint format clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s%s\n", $$1, $$2}' Makefile

setup: $(READY)  ## make .venv with the pinned packages

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clearice needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(READY)  ## run the whole workflow on the simulated micrographs of config.yaml
	$(SNAKEMAKE) --cores $(CORES) all

test: $(READY)  ## run every test that CI runs
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile

test-long: $(READY)  ## run the long tests: runs that grow, more cases of slow ones
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile -m long

test-slurm: $(READY)  ## test on a Slurm that is started for it (docs/cluster.md)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,cluster]'
	$(BIN)/python tests/cluster/loopback_slurm.py alone $(BIN)/python -m pytest tests/cluster

lint: $(READY)  ## check style (ruff, snakefmt) and rules (snakemake --lint)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check --compact-diff Snakefile workflow/rules
	$(BIN)/snakemake --lint

format: $(READY)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

clean:  ## remove results and caches, keep .venv
	rm -rf results .snakemake .pytest_cache .ruff_cache .hypothesis
