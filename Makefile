# Three commands: `make demo`, `make demo-train` and `make test`. Each sets up everything it needs: the first in .venv-demo
# (with EXTRAS=base in .venv-demo-base), without torch, the others in .venv.
# PIP_FLAGS goes to every pip call. TORCH_FLAGS goes to the one that installs torch: on Linux the usual index has only the
# build for NVIDIA cards, gigabytes that a machine without one cannot use, so PyTorch's own index of CPU builds is asked, too.

PYTHON ?= python3
PIP_FLAGS ?=
CPU_BUILDS := --extra-index-url https://download.pytorch.org/whl/cpu --retries 1
TORCH_FLAGS ?= $(shell test "$$(uname)" != Linux || command -v nvidia-smi >/dev/null || echo "$(CPU_BUILDS)")
PHOTOS ?=
MODEL ?=
EXTRAS ?=
OUT ?= demo
DEMO_FLAGS ?=
NEW_ENOUGH := import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with PYTHON=python3.12")
VENV := .venv
BIN := $(VENV)/bin
# Without torch: the base dependencies and the extras that EXTRAS names, such as base.
DEMO_VENV := .venv-demo$(if $(EXTRAS),-$(EXTRAS))

.PHONY: demo demo-train test setup check lint clean

demo: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/clip-italian demo --out "$(OUT)" $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(MODEL),--model "$(MODEL)") $(DEMO_FLAGS)

demo-train: setup
	$(BIN)/clip-italian demo --train --out "$(OUT)" $(DEMO_FLAGS)

test: setup check
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/ready

$(DEMO_VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c '$(NEW_ENOUGH)'
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.$(if $(EXTRAS),[$(EXTRAS)])'
	touch $@

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c '$(NEW_ENOUGH)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps $(PIP_FLAGS) $(TORCH_FLAGS) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[train,base,corpus,dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-demo* demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
