# `make lab` opens the notebooks, `make test` tests them. `make help` lists the rest.
# Windows, or no make: see README.md.

.DEFAULT_GOAL := help
VENV := .venv
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
STAMP := $(VENV)/installed

# The Python that makes .venv: the first of these that suits, or `make PYTHON=python3.12 lab`
SUITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	$$p -c '$(SUITS)' 2>/dev/null && echo $$p && break; done)

# Where none suits (Box2D is not built for 3.14 and later) uv makes .venv, and brings a Python if
# it finds none: the uv on the PATH, or one from PyPI, which then keeps all it brings in .uv.
UV := $(if $(shell command -v uv 2>/dev/null),uv,UV_PYTHON_INSTALL_DIR=.uv/python .uv/$(SCRIPTS)/uv)
OWN_UV := $(filter .uv/%,$(UV))
WANTED = $(shell sed -n 's/^requires-python = "\(.*\)"/\1/p' pyproject.toml)

NO_PYTHON = printf '%s\n' \
	'This needs Python 3.11, 3.12 or 3.13, with venv; found: $(or $(PYTHON),none that suits).' \
	'Install one (Debian, Ubuntu: apt-get install python3-venv), or name yours:' \
	'    make PYTHON=python3.12 lab' \
	'Or install uv, which brings a Python along, open a new terminal and run make again:' \
	'    Linux    curl -LsSf https://astral.sh/uv/install.sh | sh' \
	'    macOS    brew install uv' \
	'    Windows  winget install --id=astral-sh.uv -e' >&2

# PyTorch's default build for Linux holds CUDA (2.7 GB); `make TORCH_INDEX=cpu lab` takes
# PyTorch's own index of CPU builds, for torch alone.
TORCH_INDEX ?=
TORCH_FROM = $(if $(TORCH_INDEX),--index-url https://download.pytorch.org/whl/$(TORCH_INDEX))
TORCH = $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
NBVAL := --nbval-lax --nbval-current-env
# Each file in one process, from first to last: a notebook's cells need those before them. Two, on
# more cores, too: a file may start a kernel, workers and a browser whose keys are timed.
TWO_FILES := -n 2 --dist loadfile

# The stamp holds this folder's path: a .venv that was moved, copied, half made or whose Python is
# gone is not trusted, but made anew.
ifneq ($(shell $(BIN)/python -c 'print(open("$(STAMP)").read().strip())' 2>/dev/null),$(CURDIR))
NEW := yes
$(STAMP): FORCE $(if $(PYTHON),,$(OWN_UV))
endif

.PHONY: help install lab test test-full outputs experiments scores bench tune lock clean course site data FORCE
.DELETE_ON_ERROR:

help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv with everything in it (what needs it does this first)

$(STAMP): pyproject.toml lock.txt
	@rm -f $@
ifndef NEW
	@echo '1/3 keeping $(VENV), which pyproject.toml or lock.txt has overtaken'
else ifneq ($(PYTHON),)
	@$(PYTHON) -c '$(SUITS)' 2>/dev/null || { $(NO_PYTHON); exit 1; }
	@echo '1/3 making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv --clear $(VENV)
else
	@echo '1/3 making $(VENV) with uv: no Python $(WANTED) with venv here;'
	@echo '    uv takes one that it knows of, or downloads one (35 MB)'
	@rm -rf $(VENV)
	@$(UV) venv --seed --python '$(WANTED)' $(VENV)
endif
	@echo '2/3 installing $(TORCH), the largest part'
	@$(BIN)/python -m pip install -c lock.txt $(TORCH_FROM) $(TORCH)
	@echo '3/3 installing the rest, in the versions of lock.txt: minutes, without a word'
	@$(BIN)/python -m pip install --quiet -c lock.txt -e '.[test]'
	@echo '$(CURDIR)' > $@

.uv/$(SCRIPTS)/uv:
	@for p in python3 python; do $$p -c 'import venv, ensurepip' 2>/dev/null && break; done || { \
		$(NO_PYTHON); exit 1; }; \
	echo 'getting uv (18 MB) from PyPI into .uv, with '$$p; \
	$$p -m venv --clear .uv
	@.uv/$(SCRIPTS)/python -m pip install --quiet -c lock.txt uv

lab: $(STAMP) ## open the notebooks in JupyterLab
	$(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) --config=jupyter_lab_config.json

test: $(STAMP) ## lint, types, unit tests, and every notebook at small size
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	IL_SIZE=small $(ONE_THREAD) $(BIN)/python -m pytest $(TWO_FILES) $(NBVAL) --nbval-cell-timeout=600 tests notebooks

test-full: $(STAMP) ## every notebook at full size, more laps, more kills (long)
	IL_SIZE=full $(ONE_THREAD) $(BIN)/python -m pytest $(NBVAL) --nbval-cell-timeout=7200 tests/test_car_racing.py tests/test_kills.py notebooks

outputs: $(STAMP) ## run all notebooks at full size and save them; or NOTEBOOK=01-collect-mountain-car
	$(BIN)/python tools/outputs.py $(NOTEBOOK)

experiments: $(STAMP) ## what the notebooks quote, over many trainings; goes on where it was (hours)
	$(BIN)/python tools/experiments.py
	$(BIN)/python tools/ladder.py
	$(BIN)/python tools/waiting.py
	$(BIN)/python tools/ways.py
	$(BIN)/python tools/checkpoints.py
	$(BIN)/python tools/choices.py

scores: $(STAMP) ## the score table of the series
	$(BIN)/python tools/scores.py

bench: $(STAMP) ## how fast the package is beside what it stands for
	$(BIN)/python tools/bench.py

tune: $(STAMP) ## search for the racing driver's constants (minutes)
	$(BIN)/python tools/tune.py

# For every system that we run on. torch names its CUDA packages itself, for each of its builds.
lock: $(OWN_UV) ## renew lock.txt after a change in pyproject.toml; with UPGRADE=yes, to the newest versions
	@cp lock.txt lock.part
	@$(UV) pip compile --quiet --universal --python-version 3.11 \
		$(if $(UPGRADE),--upgrade) --no-annotate --custom-compile-command 'make lock' \
		--extra test --extra course --output-file lock.part pyproject.toml
	@grep -Ev "^(nvidia|cuda|triton)|>= '3.14'" lock.part >kept.part
	@mv kept.part lock.txt
	@rm lock.part

clean: ## remove .venv and caches; data/ stays
	rm -rf $(VENV) .uv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

course: $(STAMP) ## build the assignments for students, and check what grades them; SEED=2 makes other data
	$(BIN)/python -m pip install --quiet -c lock.txt -e '.[course]'
	$(ONE_THREAD) $(BIN)/python course/predict.py
	$(ONE_THREAD) $(BIN)/python course/classroom.py $(if $(SEED),--seed $(SEED))

site: $(STAMP) ## a book from the notebooks as they are: build/site/index.html
	$(BIN)/python -m sphinx -q -W --keep-going -c tools/site -d build/doctrees . build/site

data: $(STAMP) ## all that a notebook would make on the spot; goes on where it was
	$(BIN)/python tools/make_data.py
