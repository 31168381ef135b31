# ical-swarm: `make help` lists the targets. Options: PYTHON=, RUN=, ARGS= (passed to ansible-playbook).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
INVENTORY ?= inventory/local
RUN ?=
ARGS ?=
# the first of these that runs; 3.11 first, as the images' wheels are for it
PYTHONS := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# activated, so that ansible-lint and molecule find their own ansible
ACTIVE := PATH="$(BIN):$$PATH" ANSIBLE_CONFIG="$(CURDIR)/ansible.cfg"
PLAY := $(ACTIVE) ansible-playbook -i $(INVENTORY)
PYTEST := cd pipeline && $(BIN)/python -m pytest
# matplotlib and numba keep their caches with the checkout, not in the user's home
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba

.DEFAULT_GOAL := help
.PHONY: help setup run status teardown test check lint unit integration validation molecule bench docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed ## make .venv: ical, ansible-playbook, molecule, from locked hashes

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "make setup needs Python 3.11 or later: apt-get install python3, or name one with PYTHON=/path/to/python3.11"; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "python3-venv is missing: installing it"; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null \
	  || { echo "could not install python3-venv: install it (needs root) and try again"; exit 1; }; fi
	$(PYTHON) -m venv $(VENV)

$(VENV)/.locked: requirements/controller.txt | $(VENV)/bin/python
	@echo "installing the locked requirements (2 to 5 minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --only-binary=:all: -r requirements/controller.txt
	@touch $@

$(VENV)/.installed: pipeline/pyproject.toml $(VENV)/.locked
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation -e pipeline
	@touch $@

run: setup ## deploy and run the pipeline: make run [RUN=reference] [ARGS="-K"]
	$(PLAY) site.yml $(if $(RUN),-e ical_run=$(RUN)) $(ARGS)

status: setup ## hosts, services, workers, dashboard, last run
	$(PLAY) status.yml $(ARGS)

teardown: setup ## remove what run made, with the proof: make teardown [ARGS="-e teardown_purge=true"]
	$(PLAY) teardown.yml $(ARGS)

lint: setup ## ruff, mypy, ansible-lint (production)
	$(BIN)/ruff check pipeline plugins molecule
	cd pipeline && $(BIN)/mypy
	$(ACTIVE) ansible-lint --offline -q

unit: setup ## unit tests: every kernel against independent truth; the roles against their specs
	$(PYTEST) -q tests/unit tests/deployment

integration: setup ## ical on a local Dask cluster
	$(PYTEST) -q tests/integration

validation: setup ## the quality table, against truth
	$(PYTEST) -q tests/validation

molecule: setup ## deploy, verify, tear down, deploy again: on a test host of its own
	$(ACTIVE) molecule test --scenario-name default $(ARGS)

check: lint ## lint, unit and quick integration tests: under 5 minutes
	$(PYTEST) -q -m "not slow" tests/unit tests/deployment tests/integration

test: ## everything: lint, molecule, all of pytest; prints its time
	@started=$$SECONDS; parts=""; failed=""; \
	part() { local from=$$SECONDS; echo "== $$1"; $(MAKE) --no-print-directory $$1 || failed="$$failed $$1"; parts="$$parts, $$1 $$((SECONDS - from)) s"; }; \
	$(MAKE) --no-print-directory setup; parts=", setup $$((SECONDS - started)) s"; \
	part lint; part molecule; echo "== pytest"; \
	( ICAL_TEST_PARTS="$${parts:2}" ICAL_TEST_SECONDS=$$((SECONDS - started)) ICAL_TEST_FAILED="$$failed"; \
	  export ICAL_TEST_PARTS ICAL_TEST_SECONDS ICAL_TEST_FAILED; $(PYTEST) -q tests ) || failed="$$failed pytest"; \
	[ -z "$$failed" ] || { echo "make test FAILED:$$failed"; exit 1; }

bench: setup ## the benchmarks: kernels, stages, overhead
	$(BIN)/python pipeline/benchmarks/run.py $(ARGS)

docs: setup ## write the roles' READMEs from their argument_specs
	$(PLAY) playbooks/role_readmes.yml

# uv reads no configuration, so that no local index leaves a trace: the hashes are those of the public files
LOCK = env -u UV_INDEX -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --no-config --no-header --no-annotate --generate-hashes \
	--only-binary :all: --no-emit-index-url --no-emit-find-links --python-version 3.11
lock: setup ## resolve the requirements again: make lock [ARGS="--upgrade"]
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --python-platform x86_64-manylinux_2_28 $(ARGS) requirements/image.in -o requirements/image.txt >/dev/null
	$(LOCK) --universal -c requirements/image.txt $(ARGS) requirements/controller.in -o requirements/controller.txt >/dev/null

clean: ## remove .venv, caches and builds (results stay)
	rm -rf $(VENV) .cache pipeline/build pipeline/src/*.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
