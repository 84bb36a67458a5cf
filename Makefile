# `make demo` and `make test` need nothing but Python 3.11 to 3.13: each makes the environment itself.

PYTHON ?= python3
VENV ?= .venv
VENV_TORCH ?= .venv-torch
PIP_FLAGS ?= --quiet --disable-pip-version-check

.PHONY: demo test test-torch check lock clean

demo: $(VENV)/.run
	$(VENV)/bin/coldmark demo

test: $(VENV)/.dev
	scripts/check $(VENV)/bin
	$(VENV)/bin/python -m pytest

test-torch: $(VENV_TORCH)/.torch
	$(VENV_TORCH)/bin/python -m pytest -m torch

check: $(VENV)/.dev
	scripts/check $(VENV)/bin

# The lock that makes two installs agree; needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --upgrade --extra plots --extra dev \
		--no-annotate --custom-compile-command 'make lock' pyproject.toml --output-file constraints.txt

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV_TORCH)/.torch: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV_TORCH)
	$(VENV_TORCH)/bin/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev,training]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV_TORCH) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
