# `make demo` and `make test` work on a fresh machine: they make .venv first, and make it anew when what it holds changes.
# On a machine without a GPU the wheels of PyTorch's CPU index are far smaller; name it in PIP_FLAGS:
#   make demo PIP_FLAGS="--extra-index-url URL"

PYTHON ?= python3
WORKERS ?= 2
PIP_FLAGS ?=
INPUTS ?= 10000
MUTANTS ?= 100
SEED ?= 0
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Files are handed out whole, as what they share is made once a file.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=20
ROOMS := benchmarks cli export passes profiles

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast fuzz mutate lint docs families bench peers clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

# Python compiles what it imports when it does, a fifth of all: pip would spend a minute on the rest.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install $(PIP_FLAGS) -c constraints.txt setuptools
	$(PIP) install --no-compile $(PIP_FLAGS) -c constraints.txt --no-build-isolation -e '.[cpu,dev,docs]'
	touch $@

demo: $(STAMP)  ## compress demo:smollm2 to 8 bits, export, and score it: out/demo
	$(BIN)/compress demo:smollm2 --pipeline int8,fuse -o out/demo --overwrite

test: $(STAMP)  ## every test, those on the demo checkpoints included
	$(PYTEST)

test-fast: $(STAMP)  ## the quick tests on tiny models alone
	$(PYTEST) -m "not slow"

fuzz: $(STAMP)  ## so many broken inputs for every reader of files: make fuzz INPUTS=100000
	$(BIN)/python -m tests.whole.test_fuzz $(INPUTS)

mutate: $(STAMP)  ## change the code in so many places, and print the share that tests notice: make mutate MUTANTS=100
	$(PIP) install -q $(PIP_FLAGS) -c constraints.txt cosmic-ray
	$(BIN)/python -m tests.support.mutation $(MUTANTS) $(SEED)

lint: $(STAMP)  ## ruff (rules and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf .links && mkdir -p .links/compress
	cd .links/compress && ln -s ../../compress/* . && ln -s $(ROOMS:%=../../%) .
	cd .links && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache

docs: $(STAMP)  ## write the generated pages of docs/ again, and build the site: site/index.html
	$(BIN)/python -m tests.whole.test_docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

families: $(STAMP)  ## what works for 180 architectures, each run as a tiny model; writes docs/architectures.md
	$(BIN)/python -m tests.whole.architectures

bench: $(STAMP)  ## the claims in docs/benchmarks.md, measured here as ratios, beside the peers that are installed
	$(BIN)/python -m compress.benchmarks.project.bench

# llama.cpp is compiled for this machine. On x86 it does without AMX: what GCC 12 makes of its AMX kernels dies of an
# invalid tile configuration (ggml-org/llama.cpp pull request 26954).
NO_AMX := $(if $(filter x86_64,$(shell uname -m)),-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
peers: $(STAMP)  ## compile and install llama.cpp, for `make bench` to measure beside ours
	CFLAGS="$(NO_AMX)" CXXFLAGS="$(NO_AMX)" CMAKE_ARGS=-DLLAVA_BUILD=OFF \
		$(PIP) install $(PIP_FLAGS) -c constraints.txt llama-cpp-python

clean:  ## remove outputs and caches; the environment stays
	rm -rf out site build dist .links .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
