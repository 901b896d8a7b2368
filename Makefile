# `make` alone lists the targets. Required: make, and Python 3.11 or newer.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# The first of these that is new enough; `make PYTHON=/path/to/python3.11 run` names another.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
BIN := .venv/bin
# More arguments for the program behind a target: make test ARGS="tests/unit -k normalize"
ARGS ?=
SETUP = @if [ -z "$(PYTHON)" ]; then echo "cdp needs Python 3.11 or newer, and none was found. Try: make PYTHON=/path/to/python3.11 $@" >&2; exit 1; fi; \
	"$(PYTHON)" tools/setup.py
PYTEST = $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help
help: ## Show this list
	@echo "cdp: a customer data platform with consent, retention and erasure in its data model."
	@echo
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Settings are environment variables named CDP_...; docs/reference/settings.md lists them."

.PHONY: run
run: ## Serve API, pages and worker at http://127.0.0.1:8000; the first start shows a demonstration
	$(SETUP) run
	@$(BIN)/cdp serve --demo $(ARGS)

.PHONY: demo
demo: ## Replay real orders through an SDK, from consent to a verifiable erasure
	$(SETUP) run
	@$(BIN)/cdp demo $(ARGS)

.PHONY: migrate
migrate: ## Bring the database's schema up to date
	$(SETUP) run
	@$(BIN)/cdp migrate $(ARGS)

.PHONY: setup
setup: ## Create .venv from the lock files, with everything that tests and checks need
	$(SETUP) dev

.PHONY: test
test: ## Run the tests (about twenty minutes on two cores); ARGS="tests/unit -k name" runs some
	$(SETUP) dev
	@$(PYTEST) -m "not long" $(ARGS)

.PHONY: test-fast
test-fast: ## Run the tests without a database, in less than a minute
	$(SETUP) dev
	@$(PYTEST) -m "not long and not slow and not postgres" tests/unit tests/spec tests/house $(ARGS)

.PHONY: test-16
test-16: ## Run the tests of the stores and flows on PostgreSQL 16
	$(SETUP) dev
	@CDP_TEST_POSTGRES=16 $(PYTEST) -m "postgres and not long" tests/store tests/flows tests/migrations tests/generative/test_engines_agree.py $(ARGS)

.PHONY: test-long
test-long: ## Run every test, with many more generated examples and the long ones
	$(SETUP) dev
	@HYPOTHESIS_PROFILE=long $(PYTEST) $(ARGS)

.PHONY: test-mutations
test-mutations: ## Remove each check of consent in turn, and see a test fail for every basis; ARGS="door.verdict lists.both"
	$(SETUP) dev
	@$(BIN)/python -m tests.support.mutations $(ARGS)

.PHONY: test-faults
test-faults: ## Kill, cut and fill under load for 1,000 rounds, and check that nothing is lost; ARGS="--rounds 100 --seed 7"
	$(SETUP) dev
	@$(BIN)/python -m tests.support.faults $(ARGS)

.PHONY: coverage
coverage: ## Run the tests and print the branch coverage
	$(SETUP) dev
	@$(PYTEST) -m "not long" --cov --cov-report=term:skip-covered $(ARGS)

.PHONY: check
check: lint types contracts ## Check style, types, import contracts, generated pages, and the release of PostgreSQL
	@$(BIN)/cdp docs --check
	@$(BIN)/python tools/postgresql_gap.py

.PHONY: lint
lint: ## Check style and format
	$(SETUP) dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; echo "make format fixes that" >&2; exit 1; }

.PHONY: types
types: ## Check types
	$(SETUP) dev
	@$(BIN)/mypy

.PHONY: contracts
contracts: ## Check the import contracts between layers and packages
	$(SETUP) dev
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: ## Format the code and fix what can be fixed automatically
	$(SETUP) dev
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

.PHONY: docs
docs: ## Write the generated pages of docs/reference
	$(SETUP) dev
	@$(BIN)/cdp docs

.PHONY: docs-site
docs-site: ## Build the documentation as a site in build/site; every link is checked
	$(SETUP) docs
	@.venv/docs-site/bin/sphinx-build -q -W --keep-going -c tools/docs_site -d build/site-cache -b html docs build/site $(ARGS)
	@echo "build/site/index.html"

.PHONY: wheel
wheel: ## Build the wheel and the source distribution in dist
	$(SETUP) dev
	@$(BIN)/python -m hatchling build -d dist

.PHONY: sbom
sbom: ## Write and check a bill of materials (CycloneDX) for each lock file; needs npm
	$(SETUP) supply
	@.venv/supply/bin/python tools/sbom.py

.PHONY: advisories
advisories: ## Look the locked packages up in a database of advisories, over the network
	$(SETUP) supply
	@.venv/supply/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.txt -r requirements-demo.txt $(ARGS)

.PHONY: bench
bench: ## Measure ingest, identity, segments and erasure, each beside its baseline
	$(SETUP) dev
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: lock
lock: ## Regenerate the lock files from the requirements-*.in files
	$(SETUP) dev
	@sh tools/lock.sh $(ARGS)
