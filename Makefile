# The commands of the README. The environment is made in .venv; nothing else of the machine is touched,
# but by `make test-services`, which installs the system packages that some tests need.

PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check
# Every file is held against its hash. Only torch, whose builds differ with what they run on, is held to its version, with
# what its own build needs.
HASHED := $(PIP) --no-deps --require-hashes --requirement
TORCH := $(PIP) --constraint constraints.txt torch
OURSELVES := $(PIP) --no-deps --no-build-isolation --editable .

# Twice as many as there are cores, up to four: many tests wait for servers, browsers and faults.
TESTERS := $(shell $(PYTHON) -c 'import os; print(min(4, 2 * (os.cpu_count() or 1)))')

.PHONY: run test check faults chaos bench format test-services lock audit sbom clean

run: .venv/serving
	@$(BIN)/python scripts/build_index.py documents || [ $$? -eq 3 ]
	@exec $(BIN)/python -m zantara_stream serve

test: .venv/testing
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder --cov --cov-fail-under=90

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

# Faults at random, done to three nodes for minutes: `make chaos`, or `make chaos CHAOS="--seed 7 --minutes 10 --readers 300"`.
chaos: .venv/testing
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

# What is measured, written into docs/performance.md: some forty minutes, with nothing else on the machine.
# `make bench BENCH="relay idle"` for some of it.
bench: .venv/testing
	$(BIN)/python -m benchmarks.report $(BENCH)

test-services:
	./scripts/test_services.sh

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/serving: .venv/bin/python setup.cfg pyproject.toml constraints.txt requirements/serving.txt
	@echo "Installing into .venv (a few minutes the first time)"
	$(BIN)/python $(HASHED) requirements/serving.txt
	$(BIN)/python $(TORCH)
	$(BIN)/python $(OURSELVES)
	@touch $@

.venv/testing: .venv/serving requirements/testing.txt clients/package-lock.json
	$(BIN)/python $(HASHED) requirements/testing.txt
	cd clients && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@

# The lists of hashes anew, from setup.cfg and constraints.txt: after either has changed. Needs the package index.
COMPILE := .venv-audit/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
    --custom-compile-command "make lock"
# Left to torch's own build: it and, on Linux, what its GPU build runs on.
WITHOUT_TORCH := $(foreach package,torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
    nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver \
    nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx,\
    --no-emit-package $(package))

lock: .venv-audit/ready
	$(COMPILE) $(WITHOUT_TORCH) --constraint constraints.txt setup.cfg --extra build \
	    --output-file requirements/serving.txt
	$(COMPILE) $(WITHOUT_TORCH) --constraint constraints.txt setup.cfg --extra build --extra test --extra tracing --extra milvus --extra cluster \
	    --output-file requirements/testing.txt
	$(COMPILE) requirements/audit.in --output-file requirements/audit.txt

# Known vulnerabilities of what the lists name, torch excepted. Needs the service that knows them, so it is no part of `make check`.
audit: .venv-audit/ready
	.venv-audit/bin/pip-audit --disable-pip --require-hashes --requirement requirements/testing.txt \
	    --requirement requirements/audit.txt
	cd clients && PATH="$(CURDIR)/$(BIN):$$PATH" npm audit

# What serving and building need, torch excepted, as a CycloneDX file.
sbom: .venv-audit/ready
	.venv-audit/bin/cyclonedx-py requirements requirements/serving.txt --output-reproducible --of JSON \
	    --output-file sbom.json
	@echo "Written: sbom.json"

.venv-audit/ready: requirements/audit.txt
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python $(HASHED) requirements/audit.txt
	@touch $@

clean:
	rm -rf .venv .venv-audit clients/node_modules indexes/default sbom.json
