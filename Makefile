# One command for each thing a person does. Everything happens inside .venv.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-network lint format docs lock bench soak fuzz faults clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## install into .venv, nowhere else

# --no-deps: the lock file is complete, pip only has to check its hashes.
$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or say make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## make product images, train, inspect them, show the verdicts
	$(BIN)/lfv demo --output demo-output

test: install ## run the test suite
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

# The release that was tried; pip would else take the newest.
TORCH ?= torch==2.13.0
test-network: install ## install torch too, and test the training of networks
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--editable '.[network]' '$(TORCH)'
	$(BIN)/python -m pytest tests/engine/test_network_training.py

lint: install ## ruff and strict mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install ## write the generated pages anew
	$(BIN)/python docs/generate.py

bench: install ## measure engine and store, and write their results (about an hour)
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/store.py

fuzz: install ## 5,000 fuzzed requests to the service with the real engine
	$(BIN)/python benchmarks/fuzz_service.py --requests 5000

soak: install ## an hour of load on the service: flat memory, no stuck request
	$(BIN)/python benchmarks/soak_service.py --minutes 60

KILLS ?= 500
faults: install ## every fault, and 500 runs killed at random moments (KILLS=...)
	$(BIN)/python -m pytest tests/faults --kills $(KILLS)

lock: pyproject.toml ## resolve the lock files anew (needs uv)
	uv pip compile pyproject.toml $(LOCK) -o requirements/runtime.txt
	uv pip compile pyproject.toml $(LOCK) --extra dev -o requirements/dev.txt

# No annotations: they would name what is not installed. No index: a lock is for any of them.
LOCK := --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --quiet --upgrade

clean: ## remove what the other targets made
	rm -rf $(VENV) demo-output build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
