# Everything begins here: `make demo` to see drtool at work, `make test` to pass the tests.
# Both make a virtual environment in .venv by themselves, from pinned packages, with nothing but Python and make.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip --disable-pip-version-check --quiet
JOBS := 2  # most tests wait for a server
PURE := drtool/policy/*,drtool/repository/format/*

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint unit coverage test-long cluster test-cluster demo-cluster bench packages requirements clean

help: ## Say what there is.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

demo: $(VENV)/.demo ## Lose real servers and get them back: about a minute, on this machine, as any user.
	@$(RUN) drtool demo

test: packages lint unit coverage ## Run all checks and tests.

lint: $(VENV)/.dev ## Check style, types and the direction between rooms.
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(VENV)/bin/lint-imports

unit: $(VENV)/.dev
	rm -f .coverage .coverage.*
	$(RUN) pytest -p tests.plugins.no_skips -m "not long and not cluster" -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report=

coverage: $(VENV)/.dev
	$(RUN) coverage report
	$(RUN) coverage report --include='$(PURE)' --fail-under=100

test-long: packages $(VENV)/.dev ## Run the tests that take long, too: many repetitions, more faults on the cluster.
	$(RUN) pytest -p tests.plugins.no_skips -m "long and not cluster"
	@$(RUN) tests.cluster test -m "cluster and long"

cluster: $(VENV)/.dev ## Bring up a real Kubernetes on this machine, as root; it stays until Ctrl-C.
	@$(RUN) tests.cluster up

test-cluster: $(VENV)/.dev ## Run the tests that need one: in a Kubernetes of their own, or in that of KUBECONFIG.
	@$(RUN) tests.cluster test

demo-cluster: $(VENV)/.dev ## Lose a whole cluster with wesago in it, and bring wesago into another: as root, in a lab of its own.
	@$(RUN) tests.cluster run -- $(VENV)/bin/python -m tests.cluster.demo

bench: $(VENV)/.dev ## Measure against pgBackRest and restic; the newest restic is built, which takes Go.
	tests/debian-packages bench
	$(RUN) bench

packages: ## Install what the tests take from Debian (as root), or say what is missing.
	@tests/debian-packages test

requirements: ## Pin the packages anew; needs uv.
	uv pip compile $(COMPILE) -o requirements/run.txt pyproject.toml
	uv pip compile $(COMPILE) --extra build --extra demo -o requirements/demo.txt pyproject.toml
	uv pip compile $(COMPILE) --extra dev -o requirements/dev.txt pyproject.toml

COMPILE := --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate

clean: ## Remove what the other targets made.
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find drtool tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# --- the virtual environment: a stamp for each set of packages; those of the tests hold those of the demo
# The lists are whole, so pip has nothing to work out (--no-deps): older ones stumble over a release newer than a pin.

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the packages of requirements/demo.txt into $(VENV), once"
	@$(PIP) install --require-hashes --no-deps -r requirements/demo.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the packages of requirements/dev.txt into $(VENV), once"
	@$(PIP) install --require-hashes --no-deps -r requirements/dev.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $(VENV)/.demo $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "drtool needs Python 3.11 or later, and $(PYTHON) is `$(PYTHON) --version 2>&1`; try make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "the module venv does not work; on Debian install python3-venv" >&2; exit 1; }
