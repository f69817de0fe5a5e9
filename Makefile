# Two commands do everything: make up, make test.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

CACHE := .cache
PYTHON ?= python3
# uv from the machine, or one of our own in a folder of ours: an externally managed Python may not be touched.
UV := $(or $(shell command -v uv),$(CACHE)/tools/bin/uv)
# Keeps what other groups installed, and is quick when there is nothing to do; the first time it shows its progress.
SYNC = $(UV) sync --frozen --inexact $(if $(wildcard .venv/pyvenv.cfg),--quiet)
RUN := $(UV) run --no-sync
# Empty where there is no toolchain that can build accel (see rust-version in accel/Cargo.toml).
CARGO := $(shell cargo --version 2>/dev/null | awk '{ split($$2, v, "."); if (v[1] > 1 || v[2] >= 89) print "cargo" }')
APP_SOURCES := $(shell find pwa/src pwa/public pwa/index.html pwa/*.ts pwa/*.js -type f 2>/dev/null)
ACCEL_SOURCES := $(shell find accel -name target -prune -o -name '*.so' -prune -o -name __pycache__ -prune -o -type f -print)
NODE_MODULES := pwa/node_modules/.package-lock.json
APP := pwa/dist/index.html
# In .venv, because it goes when that goes.
ACCEL := .venv/accel-built

.PHONY: help up test test-all check fmt e2e network simulate chaos fuzz bench bench-app bench-engine bench-relay bench-sync accel clean machine python python-tests accel-later

help: ## what there is
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: python $(APP) accel-later ## install what is missing and run everything: ARGS="--port 9000"
	@exec $(RUN) domovoi up $(ARGS)

test: machine ## install what tests need and run them all
	@$(PYTHON) tests/run.py $(if $(CARGO),--rust)

test-all: machine ## the same with the slow suites
	@$(PYTHON) tests/run.py --all $(if $(CARGO),--rust)

check: python-tests $(NODE_MODULES) accel ## formatters, linters, type checkers, generated files
	@$(PYTHON) tests/run.py --only check $(if $(CARGO),--rust)

e2e: python-tests $(APP) ## the end-to-end tests alone
	$(RUN) python -m pytest tests/end_to_end

network: python-tests $(APP) ## phone, PCs and server in network namespaces, as root: what befalls the ways between them
	@DOMOVOI_SLOW_TESTS=1 $(RUN) python -m pytest -q tests/network

simulate: python-tests ## sync in 10,000 simulated worlds: SEED=, RUNS=
	@SEED=$(SEED) RUNS=$(RUNS) $(RUN) python -m tests.simulation

chaos: python-tests $(NODE_MODULES) ## 1,000 answers while networks and processes fail: SEED=, RUNS=
	@SEED=$(SEED) RUNS=$(RUNS) $(RUN) python -m tests.chaos

fuzz: python-tests accel ## look for inputs that surprise us, five minutes for each target: ARGS="tokens -max_total_time=3600"
	$(RUN) python -m tests.fuzz $(ARGS)

bench: python-tests $(APP) ## measure, beside a peer; a table and tests/benchmarks/results/*.json
	$(RUN) python -m tests.benchmarks

bench-app: python-tests $(APP) ## the same for the app alone: weight, long conversations, streaming, Lighthouse
	$(RUN) python -m tests.benchmarks.app

bench-sync: python-tests $(NODE_MODULES) ## the sync server, then sync beside Yjs and PouchDB where their harness is: PEERS=folder PEERS_HOME=its-packages
	$(RUN) python -m tests.benchmarks.sync_server
	$(RUN) python -m tests.benchmarks.sync_peers $(ARGS)

bench-relay: python-tests ## what the server adds on the way, what breaks cost, and 10,000 devices: ten minutes
	$(RUN) python -m tests.benchmarks.relay

bench-engine: python-tests accel ## measure the engine in Rust alone, beside llama.cpp: four minutes
	$(RUN) python -m tests.benchmarks.native_engine

fmt: python-tests $(NODE_MODULES) ## format everything
	$(RUN) ruff check --fix --quiet . ; $(RUN) ruff format .
	cd pwa && npm run --silent format
	$(if $(CARGO),cd accel && cargo fmt)

clean: ## remove what was built and installed here; data folders stay
	rm -rf .venv $(CACHE) pwa/node_modules pwa/dist accel/target accel/python/accel/*.so

# What the targets above are made from.

machine:
	@command -v $(PYTHON) >/dev/null || { echo "Domovoi needs Python 3.11 or newer, and there is none here."; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Domovoi needs Python 3.11 or newer; this is %d.%d. Another one: make PYTHON=…" % v[:2])'
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Domovoi needs Node 20 or newer with npm, and there is none here."; exit 1; }
	@node -e 'if (parseInt(process.versions.node) < 20) { console.error("Domovoi needs Node 20 or newer; this is " + process.version + "."); process.exit(1) }'

$(CACHE)/tools/bin/uv:
	@$(PYTHON) -m pip --version >/dev/null || { echo "Domovoi needs uv, or pip to install it (Debian: apt install python3-pip)."; exit 1; }
	$(PYTHON) -m pip install --quiet --upgrade --target $(CACHE)/tools uv

python: $(UV) | machine
	@$(SYNC)

python-tests: $(UV) | machine
	@$(SYNC) --group dev

$(NODE_MODULES): pwa/package.json pwa/package-lock.json | machine
	cd pwa && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(APP): $(NODE_MODULES) $(APP_SOURCES)
	cd pwa && npm run --silent build -- --logLevel warn
	@touch $@

accel: $(if $(CARGO),$(ACCEL),accel-left-out) ## build the Rust library, where there is cargo

.PHONY: accel-left-out
accel-left-out:
	@echo "accel: no Rust toolchain, running without it"

# Never waited for: what is there is used now, what is built meanwhile from the next start on.
accel-later:
ifeq ($(CARGO),)
	@$(MAKE) accel-left-out
else
	@$(MAKE) --question $(ACCEL) || { \
		echo "accel: building in the background, used from the next start on (log: $(CACHE)/accel.log)"; \
		mkdir -p $(CACHE); nohup nice -n 19 $(MAKE) $(ACCEL) >$(CACHE)/accel.log 2>&1 </dev/null & }
endif

$(ACCEL): $(ACCEL_SOURCES) | $(UV)
	$(UV) sync --frozen --inexact --group accel
	@touch $@
