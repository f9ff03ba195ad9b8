# Every target runs the set-up that it needs; `make help` lists the targets.
PYTHON ?= python3
DURATION ?=
CHAOS ?=
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak check format clean

help:  ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: .venv/ready  ## Create the virtual environment and download the servers (other targets run this when needed).

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; set PYTHON=python3.11 or newer" >&2; exit 2; }
	@echo "set-up 1/3: virtual environment in .venv (once)"
	@$(PYTHON) -m venv .venv || { echo "make: $(PYTHON) cannot create a virtual environment; on Debian, install python3-venv" >&2; exit 2; }
	@echo "set-up 2/3: Python packages, including the Temporal server (once, about a minute)"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable '.[dev]' | sed -u -nE 's/^Collecting ([^ ]+).*/  \1/p; s/^Installing collected packages:.*/  installing …/p; /^ *ERROR/p'
	@$(BIN)/python -c 'import temporal_slo, uvicorn, pytest' || { echo "make: the packages could not be installed; run '$(BIN)/python -m pip install -e .[dev]' to see why" >&2; exit 2; }
	@echo "set-up 3/3: Prometheus and Alertmanager"
	@$(BIN)/python -m temporal_slo.servers.tools
	@touch $@

demo: .venv/ready  ## Run the whole system on this machine; DURATION=60s stops it, CHAOS=payments-down causes a page, ARGS adds options.
	@$(BIN)/temporal-slo demo $(if $(DURATION),--duration $(DURATION)) $(if $(CHAOS),--chaos $(CHAOS)) $(ARGS)

# Two processes: most of a test's time is waiting for a server. The soak measures, so it has the machine to itself.
test: .venv/ready  ## Run all tests against real servers, at small size; ARGS selects tests.
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

soak: .venv/ready  ## Run the fault and load tests at full size.
	@$(BIN)/python -m pytest -m sized --full-size --capture=tee-sys --timeout=3600 $(ARGS)

check: .venv/ready  ## Lint and type-check.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/ready  ## Format the code, apply lint fixes, and regenerate METRICS.md, alerts and dashboards.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .
	@$(BIN)/python -m temporal_slo.metrics_page > METRICS.md
	@$(BIN)/temporal-slo generate deploy/slos --prune --receivers deploy/receivers.yaml > /dev/null

clean:  ## Remove the virtual environment, the downloaded servers and all caches.
	rm -rf .venv .tools dist .mypy_cache .pytest_cache .ruff_cache
