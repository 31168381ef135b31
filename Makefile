# make help lists the targets
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.PHONY: help setup lint check test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make .venv from the locked requirements

$(STAMP): requirements/controller.txt
	@command -v $(PYTHON) >/dev/null || { echo "make setup needs Python 3.11 as $(PYTHON): install it, or name it with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; else sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv; fi; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary=:all: -r requirements/controller.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e pipeline
	touch $@

lint: setup ## ruff and mypy
	$(BIN)/ruff check pipeline
	cd pipeline && ../$(BIN)/mypy src

check: lint ## lint and the unit tests: under 5 minutes
	cd pipeline && ../$(BIN)/python -m pytest -q tests/unit

test: lint ## everything: installs what it needs, then lint and all tests
	cd pipeline && ../$(BIN)/python -m pytest -q tests

clean: ## remove what the targets made
	rm -rf $(VENV) pipeline/src/*.egg-info
