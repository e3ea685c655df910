# make demo   install everything pinned into .venv and run every ability once on the bundled examples
# make test   the same set-up, then the tests (pytest's closing line comes last)
# make lint   style and types
# Each can be run from any state, an interrupted installation included.

SHELL := /bin/bash
PYTEST_ARGS ?=
RUNS ?= runs
DATA ?= data

.PHONY: setup demo test test-all lint format train-nano bench clean

setup:
	@scripts/setup.sh

demo: setup
	.venv/bin/m2ugen demo

test: setup
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not network" $(PYTEST_ARGS)

test-all: setup
	.venv/bin/python -m pytest $(PYTEST_ARGS)

lint: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

# Trains nano anew, stage after stage; every step goes on where it was stopped.
train-nano: setup
	scripts/train_nano.sh "$(DATA)" "$(RUNS)"

bench: setup
	.venv/bin/python benchmarks/nano.py

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
