# SonicRx. `make` lists the targets; everything runs from $(VENV), which every target makes itself.

VENV ?= .venv
PYTHON ?= python3
GROUPS_WANTED := dev,notebook,judge
UV_VERSION := 0.13.9
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WHICH_PYTHON := $(PYTHON) -c 'import sys; print(sys.executable)'
UV := PATH="$$PATH:$(abspath $(BIN))" uv

# The libraries are compiled to bytecode once, or each run would spend 15 s on it.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
unexport VIRTUAL_ENV
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help install sample notebook app picture test smoke lint types contracts unit page format pins clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED)  ## Make the virtual environment from the pinned versions

sample: install  ## Compose, render and judge a first track (goal anxiety, 120 s)
	$(BIN)/python scripts/sample.py goal=anxiety duration_s=120

notebook: install  ## Open the clinician's notebook
	$(BIN)/jupyter lab notebooks/clinician.ipynb

app: install  ## Serve the clinician's notebook as a page, on this machine only
	$(BIN)/python -m sonicrx_ml.ui.serve

picture: install  ## Draw the README's picture anew
	$(BIN)/python docs/picture.py

test: lint types contracts unit  ## Lint, types, import contracts, tests

smoke: install  ## Prepare, train, sample and evaluate on the embedded corpus
	PATH="$(abspath $(BIN)):$$PATH" bash scripts/smoke.sh

lint: install  ## Lint and check the formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## Check the types
	$(BIN)/mypy

contracts: install  ## Check which module may import which
	$(BIN)/lint-imports --no-cache

unit: install  ## Run the tests that are not slow
	$(BIN)/pytest -q -n 2 -m "not slow"

page: install  ## Drive the clinician's page in Chromium (minutes)
	$(BIN)/pytest -q -m browser

format: install  ## Format the code and repair what lint can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pins: install  ## Solve constraints.txt anew, keeping every version that still fits
	$(UV) pip compile --quiet pyproject.toml --all-extras --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-package pyaudio -o constraints.txt >/dev/null

clean:  ## Remove the virtual environment, caches and build leftovers
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv reads the override for pyaudio from pyproject.toml. Where there is no uv, pip brings one.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "SonicRx needs Python 3.11 or 3.12; name one: make PYTHON=python3.12" >&2; exit 1; }
	@if uv --version >/dev/null 2>&1; \
	  then test -x $(BIN)/python || uv venv --quiet --python "$$($(WHICH_PYTHON))" $(VENV); \
	  else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv==$(UV_VERSION); fi
	$(UV) pip install --quiet --python $(BIN)/python \
	  --constraints constraints.txt --build-constraints constraints.txt \
	  --editable '.[$(GROUPS_WANTED)]'
	@$(BIN)/python -c 'import torch, torchaudio, datasets, hydra, matplotlib.pyplot, miditok'
	@touch $@
