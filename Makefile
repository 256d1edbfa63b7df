# Two commands: `make demo` and `make test`. Each sets up everything it needs in .venv.
# PIP_FLAGS goes to every pip call, for example PIP_FLAGS="--index-url …" where another index holds a CPU build of torch.

PYTHON ?= python3
PIP_FLAGS ?=
PHOTOS ?=
MODEL ?= runs/photos-it
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup check lint clean

demo: setup
	$(BIN)/clip-italian demo --out demo $(if $(PHOTOS),--photos "$(PHOTOS)" --model "$(MODEL)")

test: setup check
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[train,base,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
