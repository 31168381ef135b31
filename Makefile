# ical-swarm: `make help` lists the targets. Options: PYTHON=, ARGS=.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
ARGS ?=
# the first of these that runs; 3.11 first, as the images' wheels are for it
PYTHONS := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTEST := cd pipeline && $(BIN)/python -m pytest
DEPLOYMENT := $(PYTEST) -q -p no:cacheprovider
# matplotlib and numba keep their caches with the checkout, not in the user's home
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba
# and so does Python, also where it is told to keep none: compiling what it imports anew takes ical,
# its workers and every test longer than running them
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache

.DEFAULT_GOAL := help
.PHONY: help setup run test suite check lint unit integration deployment science carrier one-host three-hosts validation molecule test-all bench bench-peers quality docs lock clean
# ansible and molecule find each other, and the project's configuration, wherever make is called from
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# make run is about this machine, and a test names its hosts; those that a shell exports are others
unexport ANSIBLE_INVENTORY
PLAYBOOK := $(BIN)/ansible-playbook

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed ## make .venv: ical, ansible-playbook, molecule, from locked hashes

# a recipe of its own: which Python there is, is looked for again after it
.PHONY: interpreter
interpreter:
	@if ! $(or $(PYTHON),false) -c 'import ensurepip, venv' 2>/dev/null \
	  && { [ -n "$(PYTHON)" ] || ! command -v python3 >/dev/null; }; then \
	  echo "Python or its venv is missing: installing python3-venv"; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null \
	  || { echo "could not install python3-venv: install it (needs root) and try again"; exit 1; }; fi

$(VENV)/bin/python: | $(if $(wildcard $(VENV)/bin/python),,interpreter)
	@if [ -z "$(PYTHON)" ]; then \
	  echo "make setup needs Python 3.11 or later: install it (on Ubuntu 22.04: apt-get install python3.11-venv), or name one with PYTHON=/path/to/python3.11"; exit 1; fi
	$(PYTHON) -m venv $(VENV)

$(VENV)/.locked: requirements/controller.txt | $(VENV)/bin/python
	@echo "installing the locked requirements (2 to 5 minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --only-binary=:all: -r requirements/controller.txt
	@touch $@

$(VENV)/.installed: pipeline/pyproject.toml $(VENV)/.locked
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation -e pipeline
	@touch $@

run: setup ## deploy on this machine and make self-calibrated images: make run [ARGS="-e ical_run=tiny"]
	$(PLAYBOOK) site.yml $(ARGS)

lint: setup ## ruff, mypy and ansible-lint
	$(BIN)/ruff check pipeline plugins molecule
	cd pipeline && $(BIN)/mypy src
	$(BIN)/ansible-lint -q --nocolor

unit: setup ## unit tests: every kernel against independent truth, the deployment's plugins and texts
	$(PYTEST) -q -m "not bench and not playbook" tests/unit tests/deployment

integration: setup ## ical on a local Dask cluster
	$(PYTEST) -q tests/integration

deployment: setup ## the deployment: its playbooks rendered, checked and refused, without a host
	$(DEPLOYMENT) tests/deployment

science: setup
	$(PYTEST) -q tests/unit tests/integration tests/validation

check: lint unit ## lint and unit tests: under 5 minutes

SCENARIOS := default cluster
molecule: setup ## deploy, verify and release on test hosts: make molecule [SCENARIOS=cluster]
	for scenario in $(SCENARIOS); do $(BIN)/molecule test -s $$scenario; done

LANES := --no-print-directory --jobs=2 --output-sync=line
suite: lint
	$(MAKE) $(LANES) deployment science

# two lanes for two processors: the library's tests and then one host; the deployment's and then three; what carries
# the hosts, and their image, are there before, once for both
# one lane may fail long before the other ends: what pytest, Ansible and make say then is told again at the end
FAILURES := ^(FAILED|ERROR) |fatal: .*=>|make.*\*\*\*
test: setup ## lint, the tests, and molecule's default and cluster on test hosts; as root (20 to 40 minutes)
	$(MAKE) $(LANES) lint carrier
	$(MAKE) $(LANES) one-host three-hosts 2>&1 | tee .cache/lanes.log \
	  || { echo "What failed, of all that is above (.cache/lanes.log):"; grep -E '$(FAILURES)' .cache/lanes.log | cut -c-600 | tail -n 30; exit 1; }
carrier: setup
	$(BIN)/molecule create -s default
one-host: science
	$(BIN)/molecule test -s default
three-hosts: deployment
	$(BIN)/molecule test -s cluster

ALL_SCENARIOS := default cluster observed scale managers faults secure upgrade release soak
test-all: suite ## lint, the tests, and every scenario of molecule but vm; as root (about 8 hours)
	$(MAKE) --no-print-directory molecule SCENARIOS="$(ALL_SCENARIOS)"

bench: setup ## named runs against their bars, stages against their kernels: make bench [ARGS="overhead --pairs 5"]
	$(PYTEST) -q -m bench tests/validation
	cd pipeline && $(BIN)/python -m benchmarks --results $(CURDIR)/results $(ARGS)

bench-peers: setup ## ical beside WSClean and DP3, which it installs: make bench-peers [ARGS="imaging --imaging 3:1024 --pairs 5"]
	cd pipeline && $(BIN)/python -m benchmarks.peers --scratch $(CURDIR)/.cache/peers --results $(CURDIR)/results $(ARGS)

validation: setup ## quality against truth: the table of the design at a small size
	$(PYTEST) -q tests/validation

# the family of reports that holds what a test records
JUNIT := -o junit_family=xunit1
quality: setup ## write docs/quality.md: the table of the design, small and at full size, as measured now
	$(PYTEST) -q tests/validation $(JUNIT) --junitxml=$(CURDIR)/.cache/quality-small.xml
	$(PYTEST) -q -m bench tests/validation $(JUNIT) --junitxml=$(CURDIR)/.cache/quality-full.xml
	cd pipeline && $(BIN)/python -m benchmarks.quality $(CURDIR)/docs/quality.md $(CURDIR)/.cache/quality-small.xml $(CURDIR)/.cache/quality-full.xml

docs: setup ## write the README of each role from its argument_specs
	$(PLAYBOOK) playbooks/role_readmes.yml

# uv reads no configuration, so that no local index leaves a trace: the hashes are those of the public files
LOCK = env -u UV_INDEX -u UV_FIND_LINKS .cache/uv/bin/uv pip compile --quiet --no-config --no-header --no-annotate --generate-hashes \
	--only-binary :all: --no-emit-index-url --no-emit-find-links --python-version 3.11
lock: ## resolve the requirements again: make lock [ARGS="--upgrade"]
	$(PYTHON) -m venv .cache/uv && .cache/uv/bin/python -m pip install --quiet uv
	$(LOCK) --python-platform x86_64-manylinux_2_28 $(ARGS) requirements/image.in -o requirements/image.txt >/dev/null
	$(LOCK) --universal -c requirements/image.txt $(ARGS) requirements/controller.in -o requirements/controller.txt >/dev/null

clean: ## remove .venv, caches and builds (results stay)
	rm -rf $(VENV) .cache .ruff_cache pipeline/.*_cache pipeline/build pipeline/src/*.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
