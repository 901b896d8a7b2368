# `make` alone explains itself. Needed: make, and Python 3.11 or newer.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# The first of these that is new enough; `make PYTHON=/path/to/python3.11 run` names another.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
BIN := .venv/bin
# More arguments for the program behind a target: make test ARGS="tests/unit -k normalise"
ARGS ?=
SETUP = @if [ -z "$(PYTHON)" ]; then echo "cdp needs Python 3.11 or newer, and none was found. Try: make PYTHON=/path/to/python3.11 $@" >&2; exit 1; fi; \
	"$(PYTHON)" tools/setup.py

.PHONY: help
help: ## Show this list
	@echo "cdp: a customer data platform with consent, retention and erasure in its data model."
	@echo
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Settings are environment variables named CDP_...; docs/reference/settings.md lists them."

.PHONY: run
run: ## Serve API, pages and worker at http://127.0.0.1:8000; the first start shows a demonstration
	$(SETUP) run
	@$(BIN)/cdp serve --demo $(ARGS)

.PHONY: demo
demo: ## Replay real orders through an SDK and walk from consent to a provable erasure
	$(SETUP) run
	@$(BIN)/cdp demo $(ARGS)

.PHONY: migrate
migrate: ## Bring the database's schema up to date
	$(SETUP) run
	@$(BIN)/cdp migrate $(ARGS)

.PHONY: setup
setup: ## Make .venv from the lock files, with everything that tests and checks need
	$(SETUP) dev

.PHONY: test
test: ## Run the tests (about ten minutes on two cores); ARGS="tests/unit -k name" runs some
	$(SETUP) dev
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long" $(ARGS)

.PHONY: test-16
test-16: ## Run the tests of the stores and flows on PostgreSQL 16
	$(SETUP) dev
	@CDP_TEST_POSTGRES=16 $(BIN)/python -m pytest -n 2 --dist worksteal -m "postgres and not long" --ignore=tests/acceptance $(ARGS)

.PHONY: test-long
test-long: ## Run every test, with many more generated examples and the long ones
	$(SETUP) dev
	@HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

.PHONY: check
check: ## Check style, types, the walls between floors and rooms, and that the reference is fresh
	$(SETUP) dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; echo "make format mends that" >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/cdp docs --check

.PHONY: format
format: ## Format the code and mend what can be mended
	$(SETUP) dev
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

.PHONY: docs
docs: ## Write the generated pages of docs/reference anew
	$(SETUP) dev
	@$(BIN)/cdp docs

.PHONY: bench
bench: ## Measure ingest, identity, segments and erasure, each beside its baseline
	$(SETUP) dev
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: lock
lock: ## Make the lock files anew from the requirements-*.in files
	$(SETUP) dev
	@sh tools/lock.sh
