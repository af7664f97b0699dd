PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test check format fast soak test-cluster docs

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[serve,dev]'
	touch $(STAMP)

# Deploy on this machine, draw a picture, show it, clean up (also when a step fails).
demo: setup
	$(BIN)/python -m sdctl deploy --local
	$(BIN)/python -m sdctl imagine --local "a red star on a blue background" --output out/demo.png --force || \
		{ $(BIN)/python -m sdctl cleanup --local --yes; exit 1; }
	$(BIN)/python -m sdctl cleanup --local --yes
	@echo "The picture is out/demo.png"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# No Ray, no torch, no API server: under 20 seconds.
fast: setup
	$(BIN)/pytest -q -n 2 -m "not wire and not torch and not ray and not cluster and not soak"

test-cluster: setup
	$(BIN)/python -m tests.cluster.control_plane

# Everything, as CI does. A failing test is tried once more and the report names it (R): real processes on a machine
# with other guests do stall, and a second failure in a row is no stall.
REPORT := -q -raR --reruns 1 --durations=8

test: check test-cluster
	$(BIN)/pytest $(REPORT) -n 2 -m "not torch and not ray and not cluster and not soak"
	$(BIN)/pytest $(REPORT) -m "(torch or ray) and not cluster and not soak"
	$(BIN)/pytest $(REPORT) -m "cluster and not soak"

# Renews the README's generated parts and its picture (a real run on this machine).
docs: setup
	$(BIN)/python -m tests.readme
	$(BIN)/python -m tests.picture

soak: setup test-cluster
	$(BIN)/pytest -q -m "soak" --timeout=3600
