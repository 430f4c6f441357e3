# setup-test and test install Debian packages when they run as root; everything else stays inside .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := test
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
ACCELERATORS := $(wildcard proto/*.pyx proto/*.pxd replica/*.pyx agent/sources/*/*.pyx)

.PHONY: setup setup-test test check demo bench versions soak stubs clean

setup: .venv/stamp-dev

$(BIN)/pip:
	$(PYTHON) -m venv .venv

.venv/stamp-dev: pyproject.toml setup.py $(ACCELERATORS) | $(BIN)/pip
	$(PIP) -e '.[dev]'
	touch $@

.venv/stamp-demo: pyproject.toml setup.py $(ACCELERATORS) | $(BIN)/pip
	test -e .venv/stamp-dev -a ! pyproject.toml -nt .venv/stamp-dev || $(PIP) -e '.[demo]'
	touch $@

.venv/stamp-bench: .venv/stamp-dev
	$(PIP) -e '.[dev,bench]'
	touch $@

setup-test: setup
	scripts/install-test-servers

# Most tests wait for servers and processes more than they compute, so four share two cores well.
test: setup-test check
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# KEEP=1 leaves it running, SOURCE= chooses what the department runs on.
demo: export KEEP := $(KEEP)
demo: export SOURCE := $(SOURCE)
demo: .venv/stamp-demo
	$(BIN)/python -m demo

bench: .venv/stamp-bench
	scripts/install-test-servers
	$(BIN)/python -m tests.bench $(if $(PLOT),--plot)

# What is asked of the PostgreSQL source, on versions that "make test" does not run.
versions: export VERSIONS := $(or $(VERSIONS),14 16 17)
versions: setup-test
	scripts/install-other-postgres $(VERSIONS)
	$(BIN)/python -m pytest -n 3 --dist loadfile -k "$(subst $() , or ,$(VERSIONS:%=postgres%))" tests/contract tests/integration/test_postgresql_*.py

soak: setup-test
	$(BIN)/python -m tests.soak

stubs: setup
	scripts/make-stubs

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f proto/*.so proto/*.c replica/*.so replica/*.c agent/sources/*/*.so agent/sources/*/*.c
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
