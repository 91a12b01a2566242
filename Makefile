# The menu: each target says what it does in one line; `make` alone prints it. Targets make `.venv`
# by themselves, with nothing but Python 3.11 or newer, and make it again when a lock changes.

PYTHON ?= python3
RUNTIME ?= requirements.lock
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-snowflake dev test argo environments check bench chaos figures docs lock clean

VENV := .venv
PEERS := .venv-peers
OLDEST := .venv-oldest
OUTERBOUNDS := .venv-outerbounds
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
UV := uv==0.13.9

# pip compiles on one core, for more than half of an installation: every core does it afterwards, and
# leaves out what nobody imports. What does not compile is a package's template.
INSTALL := $(PIP) install --no-compile --require-hashes --requirement
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/tests/|/kubernetes/aio/' $(VENV)/lib || true

help: ## print this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## one month of real data arrives: a change, an event, a run, two cards
	@$(BIN)/python demo/demo.py $(ARGS)

demo-snowflake: $(VENV)/.dev ## the same with Snowflake's tables, on a local emulator, through its own connector
	@$(BIN)/python demo/demo_snowflake.py $(ARGS)

dev: $(VENV)/.runtime ## the local loop: event bus, scheduler and launcher, until Ctrl-C
	@$(BIN)/flowproject dev $(ARGS)

# Two files for a core: much of a test is waiting for a server or a child.
test: $(VENV)/.dev $(VENV)/.azurite ## run every test (ARGS="-k journal" for some of them)
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Much of it is waiting, and the longest file should begin early.
argo: ## run what is deployed on real controllers: an API server and Argo Events (needs Go)
	@$(MAKE) --no-print-directory --jobs 2 $(VENV)/.dev build/argo
	TEST_CLUSTER=argo $(BIN)/python -m pytest -m "not environment and not thorough" \
	  --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS) tests/deploy tests/argo

# By name, for others are held to what only the newest Metaflow has.
OF_METAFLOW := tests/unit/metaflow_internals tests/flows/test_baseflow.py \
  tests/flows/test_dev_describe.py tests/deploy/test_compilation.py

# First what is used of Metaflow's inside, of each Metaflow: alone, for without it flowproject may not
# even be imported, and the sentence that says why would be lost. Pages and the demo are typed in where
# the project is installed, which is .venv. Outerbounds' client of S3 asks its platform for credentials,
# which only a machine that belongs to one has.
environments: $(VENV)/.dev $(OLDEST)/.installed $(OUTERBOUNDS)/.installed ## test steps in environments of their own, the oldest Metaflow, and Outerbounds'
	@for python in $(BIN) $(OLDEST)/bin $(OUTERBOUNDS)/bin; do \
	  echo "What flowproject uses of Metaflow's inside: $$python"; \
	  $$python/python -m pytest --noconftest tests/contract/test_metaflow_internals.py || exit 1; \
	done
	$(BIN)/python -m pytest -m environment $(ARGS)
	$(OLDEST)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS) $(OF_METAFLOW)
	$(OUTERBOUNDS)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
	  --ignore tests/docs --ignore tests/flows/test_demo.py \
	  -m "environment or not environment" -k "(snowflake or environments or engines or packages or baseflow or receipts or sensorflow or starterflow) and not s3" $(ARGS)

check: $(VENV)/.dev ## what CI checks: style, types, layers, schema, docs, workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/flowproject schema --check
	$(BIN)/flowproject docs --check
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/actionlint -shellcheck= -pyflakes= .github/workflows/*.yml

bench: $(VENV)/.dev $(PEERS)/.installed ## measure against the goals; writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(ARGS)

chaos: $(VENV)/.dev ## inject thousands of faults: is a change lost, or run twice? (ARGS=--mutants)
	@$(BIN)/python -m benchmarks.chaos $(ARGS)

figures: $(VENV)/.dev ## count what makes the code easy or hard to find one's way in
	@$(BIN)/python -m benchmarks.structure

docs: $(VENV)/.runtime ## write the JSON Schema and the configuration reference anew
	$(BIN)/flowproject schema
	$(BIN)/flowproject docs

lock: ## resolve the lock files anew (ARGS=--upgrade for newer versions)
	@echo "Resolving the lock files"
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check --quiet install $(UV)
	@UV=build/lock/bin/uv .ci/lock $(ARGS)
	@rm -rf build/lock

clean: ## remove the environment and every cache
	rm -rf $(VENV) $(PEERS) $(OLDEST) $(OUTERBOUNDS) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. Each stamp is newer than what was installed from it.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "$(PYTHON) is $$($(PYTHON) -V 2>&1), flowproject needs 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.build: requirements-build.lock | $(BIN)/python
	@$(INSTALL) $<
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.build
	@$(PIP) install --no-build-isolation --no-deps --no-index --editable .
	@touch $@

$(VENV)/.runtime: $(RUNTIME) $(VENV)/.project
	@echo "Installing $< (once)"
	@$(INSTALL) $<
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.project
	@echo "Installing $< (once)"
	@$(INSTALL) $<
	@$(COMPILE)
	@touch $@ $(VENV)/.runtime

# Microsoft's emulator of Azure Blob Storage, which is an npm package: for tests only.
$(VENV)/.azurite: tests/azurite/package-lock.json | $(BIN)/python
	@if command -v npm >/dev/null; then \
	  echo "Installing $< (once)"; \
	  mkdir -p $(VENV)/azurite && cp tests/azurite/package.json $< $(VENV)/azurite && \
	  if npm ci --prefix $(VENV)/azurite --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null; \
	  then touch $@; \
	  else rm -rf $(VENV)/azurite; echo "npm could not install it: the tests of the source azure will be skipped, and say so"; fi; \
	else echo "npm is not installed: the tests of the source azure will be skipped, and say so"; fi

# The cluster of `make argo`, from released modules at the versions of go.mod. Compiling 2,500 packages
# is most of what it costs: nothing is optimized, nothing is written for debuggers, the compiler collects
# its own garbage less often, and no compiler of C takes part.
build/argo: $(wildcard tests/argo/*.go) tests/argo/go.mod tests/argo/go.sum
	@command -v go >/dev/null || { echo "make argo needs Go 1.26 or newer, which is not installed" \
	  "(https://go.dev/doc/install). make test needs none, and emulates the cluster." >&2; exit 1; }
	@echo "Building $@ (once, in some minutes)"
	@cd tests/argo && CGO_ENABLED=0 GOGC=400 go build -gcflags "all=-N -l -dwarf=false" -ldflags "-s -w" -o $(CURDIR)/$@ .

# The newest Metaflow is in .venv.
$(OLDEST)/.installed: requirements-oldest.lock pyproject.toml
	@echo "Making $(OLDEST) (once, for make environments)"
	@$(PYTHON) -m venv --clear $(OLDEST)
	@$(OLDEST)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --require-hashes --requirement $<
	@touch $@

# Outerbounds' distribution brings a `metaflow` of its own, so it needs an environment of its own.
$(OUTERBOUNDS)/.installed: requirements-outerbounds.lock pyproject.toml
	@echo "Making $(OUTERBOUNDS) (once, for make environments)"
	@$(PYTHON) -m venv --clear $(OUTERBOUNDS)
	@$(OUTERBOUNDS)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --require-hashes --requirement $<
	@touch $@

# What listings of S3 are measured against; some of it wants other versions than ours.
$(PEERS)/.installed: requirements-peers.lock
	@echo "Making $(PEERS) (once, for make bench)"
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --require-hashes --requirement $<
	@touch $@
