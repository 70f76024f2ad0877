# Everything that a developer or a newcomer types. Needs Python 3.11 to 3.13 and GNU Make 3.81+.
#
#   make demo ARGS="--once"   start everything with sample photos
#   make up   ARGS="--port 9000"
#   make test                 what CI runs
#   make test PYTEST="tests/search -x"

SHELL := /bin/sh
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
ARGS ?=
PYTEST ?=

IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# the plain python3 first; a name can exist and not run (pyenv), so each is tried
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(IN_RANGE)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

PIP := $(PY) -m pip install -q -q --disable-pip-version-check --no-deps
RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed
SELF_STAMP := $(VENV)/.self-installed
NODE_STAMP := frontend/node_modules/.installed
BUNDLE := static/dist/.vite/manifest.json
FRONTEND_SOURCES := $(shell find frontend/src -type f 2>/dev/null) \
	$(wildcard frontend/*.json frontend/*.ts)
NPM := $(PY) scripts/node.py npm
CHECKED := app workers tests scripts benchmarks

.PHONY: help
help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n '1,6p'
	@echo
	@echo "setup, demo, up, test, lint, types, frontend, frontend-test, format, bench, lock, clean"

# --- installed things, each with a stamp --------------------------------------------------------

$(PY):
	@if [ -z "$(PYTHON)" ]; then \
	  echo "No Python 3.11, 3.12 or 3.13 was found."; \
	  echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; fi
	@"$(PYTHON)" -c '$(IN_RANGE)' || { \
	  echo "$(PYTHON) is not a Python 3.11, 3.12 or 3.13."; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python could not make $(VENV); on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

$(RUN_STAMP): requirements.lock | $(PY)
	@echo "Installing what ClairVision runs on (large: about 5 GB with the GPU libraries of torch)"
	@$(PY) scripts/install_locked.py requirements.lock
	@touch $@

$(DEV_STAMP): requirements-dev.lock $(RUN_STAMP)
	@echo "Installing the developers' tools"
	@$(PY) scripts/install_locked.py requirements-dev.lock
	@touch $@

# setuptools is among the locked packages, so nothing is fetched for the build
$(SELF_STAMP): pyproject.toml $(RUN_STAMP)
	@$(PIP) --no-build-isolation --no-index -e .
	@touch $@

$(NODE_STAMP): frontend/package-lock.json frontend/package.json $(RUN_STAMP)
	@echo "Installing the frontend's packages"
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

$(BUNDLE): $(FRONTEND_SOURCES) $(NODE_STAMP)
	@$(NPM) run build --silent -- --logLevel=warn
	@touch $@

.PHONY: setup install frontend
setup: $(SELF_STAMP) $(BUNDLE)
install: setup
frontend: $(BUNDLE)

# --- using it -----------------------------------------------------------------------------------

.PHONY: demo up bench
demo: setup
	@$(BIN)/clairvision demo $(ARGS)

up: setup
	@$(BIN)/clairvision up $(ARGS)

bench: setup
	@$(PY) scripts/run_benchmarks.py $(ARGS)

# --- checking it --------------------------------------------------------------------------------

.PHONY: test lint types frontend-test pytest format
test: lint types frontend-test pytest

lint: $(DEV_STAMP) $(SELF_STAMP)
	$(PY) -m ruff check $(CHECKED)
	$(PY) -m ruff format --check $(CHECKED)
	$(BIN)/lint-imports

types: $(DEV_STAMP) $(SELF_STAMP)
	$(PY) -m mypy

frontend-test: $(NODE_STAMP)
	$(NPM) run check --silent
	$(NPM) test --silent

pytest: $(DEV_STAMP) $(SELF_STAMP) $(BUNDLE)
	@browser=$$($(PY) scripts/ensure_browser.py) || exit 1; \
	echo "$(PY) -m pytest $(PYTEST)"; CHROMIUM="$$browser" $(PY) -m pytest $(PYTEST)

# the long forms: 50 kills during 3,000 photos and the like, an hour or more
.PHONY: faults
faults: $(DEV_STAMP) setup
	CLAIR_FAULTS=long $(PY) -m pytest tests/faults -v

format: $(DEV_STAMP) $(NODE_STAMP)
	$(PY) -m ruff check --fix $(CHECKED)
	$(PY) -m ruff format $(CHECKED)
	$(NPM) run format --silent

# --- keeping it ---------------------------------------------------------------------------------

# requirements.overrides.txt says why facenet-pytorch's own pins are set aside
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --overrides requirements.overrides.txt pyproject.toml

.PHONY: lock clean
lock: $(PY)
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) -o requirements.lock
	$(LOCK) --extra dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) frontend/node_modules static/dist clairvision.egg-info \
	  .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find app workers tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
