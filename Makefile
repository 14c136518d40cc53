# DataStalker: `make help` says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-kafka test lint check format bench fuzz reference clean
.PHONY: stack stack-stop stack-status bench-kafka bench-agent docs docs-serve screenshots kibana
.PHONY: bench-top

PYTHON ?= python3
BIN := .venv/bin

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready ## Install what DataStalker needs, into .venv; for Kafka EXTRAS=agent,workers,elasticsearch
	@$(if $(EXTRAS),PYTHON=$(PYTHON) infra/setup.sh run $(EXTRAS))
.venv/.ready: pyproject.toml infra/setup.sh
	@PYTHON=$(PYTHON) infra/setup.sh run

.venv/.ready-kafka: pyproject.toml infra/setup.sh
	@PYTHON=$(PYTHON) infra/setup.sh run agent,workers,elasticsearch
	@touch $@

.venv/.ready-dev: pyproject.toml infra/setup.sh
	@PYTHON=$(PYTHON) infra/setup.sh dev

demo: .venv/.ready ## Simulate an hour of air, run the pipeline on it, show the result
	@infra/demo.sh

demo-kafka: .venv/.ready-kafka ## The demo over a real Kafka, with a worker, Elasticsearch and CSV
	@$(BIN)/python -m infra.demo_kafka

test: .venv/.ready-dev ## Set up and run all tests
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -rs

lint: .venv/.ready-dev ## Format, lint, types, the import contract
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint test ## What must pass before a commit lands

format: .venv/.ready-dev ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

stack: .venv/.ready ## Start Kafka, Elasticsearch and a schema registry here, without Docker
	@$(BIN)/python -m infra.local start

stack-stop: .venv/.ready ## Stop them; what they stored stays (WIPE=1 removes it)
	@$(BIN)/python -m infra.local stop $(if $(WIPE),--wipe)

stack-status: .venv/.ready ## What runs, and where
	@$(BIN)/python -m infra.local status || true

bench: .venv/.ready-dev ## Measure, side by side with what one would use instead
	@$(BIN)/python -m bench $(BENCH)

bench-kafka: .venv/.ready-dev ## Measure agent, worker and sink over a real Kafka and Elasticsearch
	@$(BIN)/python -m bench.kafka $(BENCH)

bench-agent: .venv/.ready-dev ## Measure a live agent beside tshark, dumpcap, airodump-ng, scapy (root)
	@$(BIN)/python -m bench.agent_live $(BENCH)

bench-top: .venv/.ready-dev ## Measure stalk top on a live interface (root)
	@$(BIN)/python -m bench.top_live

fuzz: .venv/.ready-dev ## A million mutated frames, then ten minutes coverage-guided
	@infra/fuzz.sh

docs: .venv/.ready-dev ## Build the docs site into site/: search included, no network needed
	@$(BIN)/python -m docs.site site

docs-serve: docs ## Build it and serve it at http://localhost:8000
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000

reference: .venv/.ready-dev ## Write the reference pages, template and units from the code
	@$(BIN)/python -m docs.reference

screenshots: .venv/.ready-dev ## Take the terminal pictures of the docs
	@$(BIN)/python -m docs.screenshots

kibana: .venv/.ready-dev ## Draw the dashboards' data for docs/kibana.md, from a sample
	@$(BIN)/python -m infra.kibana

clean: ## Remove what was installed and made
	@rm -rf .venv .demo .bench site out .mypy_cache .ruff_cache .pytest_cache .hypothesis
