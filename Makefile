# Every target sets up what it needs; on a fresh machine `make demo` and `make test` are enough.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
# Workers share the tests file by file (tests/lanes.py); two cores are busy with three, as tests wait half of their time.
# WORKERS=0: all in one process, for a debugger.
WORKERS ?= 3
PYTEST = $(BIN)/python -m pytest --numprocesses=$(WORKERS) --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help setup programs demo test unit lint types contracts format lock check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | column -t -s '|'

# pip installs the complete, hashed lock without resolving anything; `pip check` proves that the lock is whole.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 with its venv module" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	$(BIN)/pip check
	touch $@

# Else the first fit and the first sweep would wait for the compiler.
$(COMPILED): $(STAMP) deployments/compiling.py $(wildcard quell/detection/*.py)
	$(BIN)/python -m deployments.compiling
	touch $@

setup: $(COMPILED) ## install Quell and its Python packages into .venv

programs: ## install the Debian programs that the sandbox and the tests use
	deployments/install-debian.sh

demo: setup ## run one whole incident, live, on real components (ARGS=--interactive: you approve)
	-deployments/install-debian.sh
	$(BIN)/python -m deployments.demo $(ARGS)

test: setup programs ## run all tests against real components (ARGS="tests/unit -k labels" for some)
	$(PYTEST) $(ARGS)

unit: WORKERS = 2
unit: setup ## run only the pure tests
	$(PYTEST) tests/unit

lint: $(STAMP) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## pyright, strict on quell/ and tasks/
	$(BIN)/pyright

contracts: $(STAMP) ## imports run one way, the phases are pure
	$(BIN)/lint-imports

format: setup ## let ruff rewrite the tree
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve requirements.lock anew from pyproject.toml (before setup, which needs it)
	test -x $(BIN)/uv || $(MAKE) setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock

check: lint types contracts test ## everything that CI runs

clean: ## remove what the targets made
	rm -rf $(VENV) .quell .demo build *.egg-info .pytest_cache .ruff_cache .hypothesis
