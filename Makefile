# One command for each thing a person does. Everything happens inside .venv.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install dev demo deploy check test reviews test-network lint format docs proto lock bench bench-all soak fuzz faults kills clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## install the product and its dependencies into .venv

# Compiled code is kept, whatever the shell sets: without it, every command takes twice as long to
# start.
export PYTHONDONTWRITEBYTECODE :=

# --no-deps: the lock file is complete, pip only has to check its hashes.
# --no-compile: compiling everything takes as long as installing and 100 MB. What a run imports is
# compiled by importing it.
PIP := $(BIN)/python -m pip --disable-pip-version-check
$(VENV)/.installed: requirements/runtime.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or run make PYTHON=/path/to/python3"; exit 1; }
	@echo "Installing $$(grep -c '==' requirements/runtime.txt) packages into $(VENV): about 190 MB to download, 580 MB on disk"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile --no-deps --require-hashes -r requirements/runtime.txt
	$(PIP) install --no-compile --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import flows.inspect_images, lfv.cli.app, lfv.server.service, prefect.server.api.server'
	@touch $@
	@echo "Installed. Next: export PATH=$(abspath $(VENV))/bin:\$$PATH"

dev: $(VENV)/.dev ## also install the dependencies of tests and lint

$(VENV)/.dev: $(VENV)/.installed requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

demo: install ## draw product images, train, inspect, show the verdicts
	$(BIN)/lfv demo --output demo-output

deploy: install ## create all deployments on the configured Prefect server
	$(BIN)/lfv deploy

# tests/conftest.py puts the slow files first, and their order is kept.
# Many tests wait more than they compute: there is one process more than the two cores of a CI machine.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Formats, policies, clients, the store on SQLite, reports, layers and docs. None of their files
# has a costly fixture, so an idle worker may take tests from another's file.
CHECKED := tests/formats tests/client tests/store tests/cli/test_docs.py tests/faults/test_docs.py \
	tests/report tests/server/test_coverage.py tests/test_docs.py tests/test_layers.py
check: dev ## the fast part of the tests, in less than two minutes
	$(PYTEST) --dist worksteal -m "not slow and not postgresql" $(CHECKED)

test: dev ## the whole test suite, in less than half an hour
	$(PYTEST)

# The release that was tested; otherwise pip would take the newest.
TORCH ?= torch==2.13.0
test-network: dev ## install torch too, and test the training of networks
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--editable '.[network]' '$(TORCH)'
	$(BIN)/python -m pytest tests/engine/test_network_training.py

lint: dev ## ruff and strict mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: dev ## format the code with ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: dev ## generate the edge agent's messages again
	cd lfv/formats && ../../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. edge_agent.proto

docs: install ## write the generated pages again
	$(BIN)/python docs/generate.py

bench: dev ## benchmark this machine, in parts of under two minutes
	$(BIN)/python benchmarks/capacity.py

bench-all: bench ## also benchmark detection, engine and store, and write their results (about an hour)
	$(BIN)/python benchmarks/detection.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/trigger.py

fuzz: dev ## 5,000 fuzzed requests to the service with the real engine
	$(BIN)/python benchmarks/fuzz_service.py --requests 5000

soak: dev ## an hour of load on the service: flat memory, no stuck request
	$(BIN)/python benchmarks/soak_service.py --minutes 60

KILLS ?= 500
CHANGES ?= 300
faults: dev ## every fault on every host and database, 500 runs killed at random on each host (KILLS=...)
	$(BIN)/python -m pytest tests/faults --every-host --both-databases --kills $(KILLS) --changes $(CHANGES)

HOST ?= sagemaker
HOST_KILLS ?= 200
kills: dev ## 200 runs killed at random moments on one kind of host (HOST=sagemaker-batch, HOST_KILLS=...)
	$(BIN)/python -m pytest 'tests/faults/test_random_kills.py::test_runs_killed_at_random[$(HOST)]' --kills $(HOST_KILLS)

REVIEWS ?= 1000
reviews: dev ## 1,000 reviews by five clients while lfv ui is killed twice (REVIEWS=...)
	$(BIN)/python -m pytest tests/ui/test_crashes.py --reviews $(REVIEWS)

lock: pyproject.toml ## update the lock files (needs uv)
	uv pip compile pyproject.toml $(LOCK) --extra build -o requirements/runtime.txt
	uv pip compile pyproject.toml $(LOCK) --extra build --extra dev -o requirements/dev.txt

# No annotations: they would name packages that are not installed. No URL: any index can be used.
LOCK := --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --quiet --upgrade

clean: ## remove the output of the other targets
	rm -rf $(VENV) demo-output build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
