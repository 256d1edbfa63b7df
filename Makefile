# Two commands: `make demo` and `make test`. Each sets up everything it needs in .venv.
# PIP_FLAGS goes to every pip call. TORCH_FLAGS goes to the one that installs torch: on Linux the usual index has only the
# build for NVIDIA cards, gigabytes that a machine without one cannot use, so PyTorch's own index of CPU builds is asked, too.

PYTHON ?= python3
PIP_FLAGS ?=
CPU_BUILDS := --extra-index-url https://download.pytorch.org/whl/cpu --retries 1
TORCH_FLAGS ?= $(shell test "$$(uname)" != Linux || command -v nvidia-smi >/dev/null || echo "$(CPU_BUILDS)")
PHOTOS ?=
MODEL ?= models/photos-it
OUT ?= demo
DEMO_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup check lint clean

demo: setup
	$(BIN)/clip-italian demo --out "$(OUT)" $(if $(PHOTOS),--photos "$(PHOTOS)" --model "$(MODEL)") $(DEMO_FLAGS)

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
	$(BIN)/python -m pip install --quiet --no-deps $(PIP_FLAGS) $(TORCH_FLAGS) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[train,base,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
