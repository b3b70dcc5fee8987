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

.PHONY: help install lab test test-full outputs scores bench tune lock clean FORCE
.DELETE_ON_ERROR:

help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

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

test-full: $(STAMP) ## every notebook at full size, FastCarRacing on more laps (long)
	IL_SIZE=full $(ONE_THREAD) $(BIN)/python -m pytest $(NBVAL) --nbval-cell-timeout=7200 tests/test_car_racing.py notebooks

outputs: $(STAMP) ## run all notebooks at full size and save them; or NOTEBOOK=01-collect-mountain-car
	$(BIN)/python tools/outputs.py $(NOTEBOOK)

scores: $(STAMP) ## the score table of the series
	$(BIN)/python -m helpers.scores

bench: $(STAMP) ## how fast FastCarRacing draws, beside Gymnasium's own
	$(BIN)/python tests/bench_car_racing.py

tune: $(STAMP) ## search for the racing driver's constants (minutes)
	$(BIN)/python -m helpers.tune

lock: ## renew lock.txt: the newest versions that pyproject.toml admits
	@$(PYTHON) -m venv --clear .venv.lock
	@.venv.lock/bin/python -m pip install --quiet packaging
	@.venv.lock/bin/python tools/lock.py; status=$$?; rm -rf .venv.lock; exit $$status

clean: ## remove .venv and caches; data/ stays
	rm -rf $(VENV) .venv.lock .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
