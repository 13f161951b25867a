# One door for the developer. PYTHON is the interpreter of the environment in use.
PYTHON ?= $(shell [ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)
BIN := $(dir $(shell $(PYTHON) -c 'import sys; print(sys.executable)'))

.DEFAULT_GOAL := help
.PHONY: help setup fmt lint types imports docs test quick check demo wheel fresh bundle

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv with everything a developer needs
	python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'

fmt: ## format the code and sort the imports
	$(BIN)ruff check --fix-only --quiet . && $(BIN)ruff format .

lint: ## check style and formatting
	$(BIN)ruff check . && $(BIN)ruff format --check .

types: ## check types, strictly
	$(BIN)mypy

imports: ## check the direction of dependencies between the rooms
	$(BIN)lint-imports

docs: ## write the generated references under docs/
	$(PYTHON) docs/generate.py

test: ## run the tests
	$(BIN)pytest -n auto

quick: ## run the tests that start nothing (no engine, process, browser, npm, NATS): under a minute on two quiet cores
	$(BIN)pytest -n 2 --quick

check: lint types imports test ## all that has to be green before a commit; what a machine lacks (Chromium, npm, ...) is skipped

demo: ## see the product work
	$(BIN)sluice demo

wheel: ## build the wheel, and try it in a clean environment from another directory
	bash .ci/wheel $(PYTHON)

fresh: ## do what README says, and the wheel, in minimal Debians (as root; about half an hour)
	bash .ci/fresh

bundle: ## make dist/sluice.mcpb, which MCP clients install by a click
	$(PYTHON) packaging/bundle.py
