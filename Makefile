# Two commands do everything: make up, make test.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

CACHE := .cache
PYTHON ?= python3
# uv from the machine, or one of our own: pip may not touch an externally managed Python.
UV := $(shell command -v uv || echo $(CACHE)/tools/bin/uv)
RUN := $(UV) run --no-sync
CARGO := $(shell command -v cargo)
APP_SOURCES := $(shell find pwa/src pwa/public pwa/index.html pwa/*.ts pwa/*.js -type f 2>/dev/null)
ACCEL_SOURCES := $(shell find accel -name target -prune -o -name '*.so' -prune -o -type f -print)

.PHONY: help up test test-all check fmt e2e bench accel clean tools packages

help: ## what there is
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: $(CACHE)/python pwa/dist/index.html ## install what is missing and run everything: ARGS="--port 9000"
	@$(MAKE) -s accel-later
	@exec $(RUN) domovoi up $(ARGS)

test: ## install what tests need and run them all
	@$(PYTHON) tests/run.py

test-all: ## the same with the slow suites
	@$(PYTHON) tests/run.py --all

check: $(CACHE)/tests pwa/node_modules/.package-lock.json ## formatters, linters, type checkers, generated files
	@$(PYTHON) tests/run.py --only check

e2e: $(CACHE)/tests pwa/dist/index.html ## the end-to-end tests alone
	$(RUN) python -m pytest tests/end_to_end

bench: $(CACHE)/tests pwa/dist/index.html ## measure, beside a peer; a table and tests/benchmarks/results/*.json
	$(RUN) python -m tests.benchmarks

fmt: $(CACHE)/tests pwa/node_modules/.package-lock.json ## format everything
	$(RUN) ruff check --fix --quiet . ; $(RUN) ruff format .
	cd pwa && npx prettier --write --log-level warn . && npx eslint --fix .
	@if [ -n "$(CARGO)" ]; then cd accel && cargo fmt; fi

clean: ## remove what was built and installed here; data folders stay
	rm -rf .venv $(CACHE) pwa/node_modules pwa/dist accel/target accel/python/accel/*.so

# What the targets above are made from.

tools: $(UV)

$(CACHE)/tools/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Domovoi needs Python 3.11 or newer; this is " + sys.version.split()[0] + "." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(CACHE)/tools
	$(CACHE)/tools/bin/pip install --quiet uv

$(CACHE)/python: $(UV) pyproject.toml uv.lock
	$(UV) sync --frozen --inexact --quiet
	@mkdir -p $(CACHE) && touch $@

$(CACHE)/tests: $(UV) pyproject.toml uv.lock
	$(UV) sync --frozen --inexact --quiet --group dev
	@mkdir -p $(CACHE) && touch $@ $(CACHE)/python

pwa/node_modules/.package-lock.json: pwa/package-lock.json
	@node -e 'if (+process.versions.node.split(".")[0] < 20) { console.error("Domovoi needs Node 20 or newer; this is " + process.version + "."); process.exit(1) }'
	cd pwa && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

pwa/dist/index.html: pwa/node_modules/.package-lock.json $(APP_SOURCES)
	cd pwa && npm run --silent build -- --logLevel warn
	@touch $@

# Optional and never waited for: what is built now is used from the next start on.
accel: $(CACHE)/accel ## build the Rust library, where there is cargo

accel-later:
	@if [ -z "$(CARGO)" ]; then echo "accel: no Rust toolchain here, so it is left out; everything works without it."; \
	elif ! $(MAKE) -q $(CACHE)/accel 2>/dev/null; then \
		echo "accel: building in the background, used from the next start on ($(CACHE)/accel.log)."; \
		nohup $(MAKE) $(CACHE)/accel >$(CACHE)/accel.log 2>&1 </dev/null & fi

$(CACHE)/accel: $(UV) $(ACCEL_SOURCES)
	@if [ -z "$(CARGO)" ]; then echo "accel: no Rust toolchain here, so it is left out; everything works without it."; \
	else $(UV) sync --frozen --inexact --quiet --group accel; fi
	@mkdir -p $(CACHE) && touch $@
