# `make lab` opens the notebooks, `make test` tests them. `make help` lists the rest.
# Windows, or no make: see README.md.

.DEFAULT_GOAL := help
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
STAMP := $(VENV)/installed

# The Python that makes .venv: the first of these that suits, or `make PYTHON=python3.12 lab`
SUITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	$$p -c '$(SUITS)' 2>/dev/null && echo $$p && break; done)

# PyTorch's default build for Linux holds CUDA (2.7 GB); `make TORCH_INDEX=cpu lab` takes
# PyTorch's own index of CPU builds, for torch alone.
TORCH_INDEX ?=
TORCH_FROM = $(if $(TORCH_INDEX),--index-url https://download.pytorch.org/whl/$(TORCH_INDEX))
TORCH = $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
NBVAL := --nbval-lax --nbval-current-env

# The stamp holds this folder's path: a .venv that was moved, copied, half made or whose Python is
# gone is not trusted, but made anew.
ifneq ($(shell $(BIN)/python -c 'print(open("$(STAMP)").read().strip())' 2>/dev/null),$(CURDIR))
NEW := yes
$(STAMP): FORCE
endif

.PHONY: help install lab test test-full outputs experiments scores bench tune lock clean FORCE
.DELETE_ON_ERROR:

help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv with everything in it (what needs it does this first)

$(STAMP): pyproject.toml lock.txt
	@rm -f $@
ifdef NEW
	@$(or $(PYTHON),false) -c '$(SUITS)' 2>/dev/null || { \
		echo 'This needs Python 3.11, 3.12 or 3.13, with venv; found: $(or $(PYTHON),none).'; \
		echo 'Install one (Debian: apt-get install python3-venv), or name yours:'; \
		echo '    make PYTHON=python3.12 lab'; \
		exit 1; } >&2
	@echo '1/3 making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv --clear $(VENV)
else
	@echo '1/3 keeping $(VENV), which pyproject.toml or lock.txt has overtaken'
endif
	@echo '2/3 installing $(TORCH), the largest part'
	@$(BIN)/python -m pip install -c lock.txt $(TORCH_FROM) $(TORCH)
	@echo '3/3 installing the rest, in the versions of lock.txt'
	@$(BIN)/python -m pip install --quiet -c lock.txt -e '.[test]'
	@echo '$(CURDIR)' > $@

lab: $(STAMP) ## open the notebooks in JupyterLab
	$(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

test: $(STAMP) ## lint, types, unit tests, and every notebook at small size
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	IL_SIZE=small $(ONE_THREAD) $(BIN)/python -m pytest $(NBVAL) --nbval-cell-timeout=600 tests notebooks

test-full: $(STAMP) ## every notebook at full size, more laps, more kills (long)
	IL_SIZE=full $(ONE_THREAD) $(BIN)/python -m pytest $(NBVAL) --nbval-cell-timeout=7200 tests/test_car_racing.py tests/test_kills.py notebooks

outputs: $(STAMP) ## run all notebooks at full size and save them; or NOTEBOOK=01-collect-mountain-car
	$(BIN)/python tools/outputs.py $(NOTEBOOK)

experiments: $(STAMP) ## what the notebooks quote, over many trainings; goes on where it was (hours)
	$(BIN)/python tools/experiments.py

scores: $(STAMP) ## the score table of the series
	$(BIN)/python tools/scores.py

bench: $(STAMP) ## how fast FastCarRacing draws, beside Gymnasium's own
	$(BIN)/python tools/bench.py

tune: $(STAMP) ## search for the racing driver's constants (minutes)
	$(BIN)/python tools/tune.py

# For every system that we run on. torch names its CUDA packages itself, for each of its builds.
lock: ## renew lock.txt after a change in pyproject.toml; with UPGRADE=yes, to the newest versions
	@$(PYTHON) -m venv --clear .venv.lock
	@.venv.lock/bin/python -m pip install --quiet uv
	@cp lock.txt .venv.lock
	@.venv.lock/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
		$(if $(UPGRADE),--upgrade) --no-annotate --custom-compile-command 'make lock' \
		--extra test --output-file .venv.lock/lock.txt pyproject.toml
	@grep -Ev "^(nvidia|cuda|triton)|>= '3.14'" .venv.lock/lock.txt >.venv.lock/kept
	@mv .venv.lock/kept lock.txt
	@rm -rf .venv.lock

clean: ## remove .venv and caches; data/ stays
	rm -rf $(VENV) .venv.lock .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
