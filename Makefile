# Two commands on a fresh machine: `make demo` shows Segue at work, `make test` checks it.
# Nothing but Python 3.11+ and make is needed; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARTS := $(BIN)/python tests/support/parts.py

.PHONY: help install demo run test clients lint types imports unit contract integration acceptance docs \
        bench bench-api bench-validate refold match crash prove fuzz fuzz-api reference definitions lock clean

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(READY) ## install into .venv from the locked list

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

demo: $(READY) ## play a patient's story through a running engine
	$(BIN)/python -m tests.stories.play S01

run: $(READY) ## start the engine alone: MLLP 127.0.0.1:2575, HTTP 127.0.0.1:8080
	$(BIN)/segue run

test: $(READY) ## everything that CI checks, with seconds per part
	@$(PARTS) lint types imports unit contract integration acceptance docs

lint: $(READY)
	$(BIN)/ruff check engine tests benchmarks tools
	$(BIN)/ruff format --check engine tests benchmarks tools
	$(BIN)/codespell engine tests docs mappings README.md CHANGELOG.md CONTRIBUTING.md
	$(BIN)/deptry .
	$(BIN)/vulture

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/pytest tests/unit engine/segue --doctest-modules --disable-socket --allow-unix-socket -q -n auto

contract: $(READY)
	$(BIN)/pytest tests/contract -q
	$(BIN)/segue map test

integration: $(READY)
	$(BIN)/pytest tests/integration -q

acceptance: $(READY)
	$(BIN)/pytest tests/acceptance -q

docs: $(READY)
	$(BIN)/pytest tests/docs -q

bench: $(READY) ## throughput, latency, CPU per stage, disk; writes benchmarks/results/bench.json
	$(BIN)/python -m benchmarks.bench

bench-api: $(READY) ## searches, reads and imports over HTTP at 100,000 resources, beside SEKMET
	$(BIN)/python -m benchmarks.api

bench-validate: $(READY) ## agreement with HL7's validator and FHIRPath suite (Java 17, Maven)
	$(BIN)/python -m benchmarks.validator
	$(BIN)/python -m benchmarks.fhirpath

refold: $(READY) ## how long it takes to fold a person or a visit of 500 events anew
	$(BIN)/python -m benchmarks.refold

match: $(READY) ## how well Patients of two hospitals are matched, on made-up people
	$(BIN)/python -m benchmarks.matching

crash: $(READY) ## kill -9 under load, 50 rounds
	$(BIN)/python -m tests.integration.crash --rounds 50

prove: $(READY) ## the laws of the fold over 100,000 random histories, on all cores
	$(BIN)/python -m tests.support.laws

fuzz-api: $(READY) ## ask everything that OpenAPI describes, 200 times each
	API_EXAMPLES=200 $(BIN)/pytest tests/integration/test_api_schema.py -q

fuzz: $(READY) ## 100,000 mutations of messages: none raises, none is misread in silence
	$(BIN)/python -m tests.support.fuzz

clients: $(READY) ## try the clients of PyPI and npm against a running engine
	$(BIN)/pytest tests/acceptance/test_clients.py -q -rs

reference: $(READY) ## write docs/reference from the code
	$(BIN)/python -m tools.reference

definitions: $(READY) ## generate the FHIR facts from ../shared/data/definitions
	$(BIN)/python tools/generate_definitions.py
	$(BIN)/python -m tools.generate_profiles

lock: $(READY) ## resolve requirements.lock anew (needs uv)
	uv pip compile --quiet --group dev pyproject.toml --generate-hashes --no-header --no-annotate \
	    --upgrade -o requirements.lock

clean:
	rm -rf $(VENV) .peers segue-data benchmarks/results .mypy_cache .ruff_cache .pytest_cache .hypothesis
