# The commands of the README. The environment is made in .venv; nothing else of the machine is touched,
# but by `make test-services`, which installs the system packages that some tests need.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check faults format test-services clean

run: .venv/serving
	@$(BIN)/python scripts/build_index.py documents || [ $$? -eq 3 ]
	@exec $(BIN)/python -m zantara_stream serve

test: .venv/testing
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --cov --cov-fail-under=90

check: .venv/testing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/testing
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Faults done to real servers, the long version: some minutes, and docs/reliability.md is written.
faults: .venv/testing
	PYTHONPATH=tests $(BIN)/python -m faults

test-services:
	./scripts/test_services.sh

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/serving: .venv/bin/python setup.cfg pyproject.toml constraints.txt
	@echo "Installing into .venv (a few minutes the first time)"
	$(INSTALL) --editable '.[build]'
	@touch $@

.venv/testing: .venv/serving clients/package-lock.json
	$(INSTALL) --editable '.[build,test,tracing]'
	cd clients && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@

clean:
	rm -rf .venv clients/node_modules indexes/default
