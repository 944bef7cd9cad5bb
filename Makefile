# `make demo` sets up and studies a real model; `make orchard` the embedded one, without a network; `make test` runs the tests.
# After `make setup`, snakemake runs from .venv/bin.

PYTHON ?= python3
CORES ?= 2
BIN := $(CURDIR)/.venv/bin
INSTALLED := .venv/.installed
export PATH := $(BIN):$(PATH)

.PHONY: setup browser slurm demo orchard test notebooks architectures fuzz check docs site format constraints clean

setup: $(INSTALLED) browser

# Byte code is compiled here, once, since every job imports the same libraries.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with `make PYTHON=python3.12 …`.")'
	$(PYTHON) -m venv .venv
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pip install --quiet --compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

browser: $(INSTALLED)
	@workflow/setup/browser.sh

# What tests/workflow/test_slurm.py runs jobs on; without root nothing is installed, and those tests are skipped.
slurm:
	@workflow/setup/slurm.sh

# A real model in minutes, and its finding.
demo: setup
	snakemake --quiet host reason rules --cores $(CORES) smollm2
	@cat results/smollm2/finding.txt
	@echo && echo "On one page, for a browser: $(CURDIR)/results/smollm2/index.html"

orchard: setup
	snakemake --cores $(CORES) orchard

test: setup slurm
	pytest

# The example notebook, on a model out of the package index.
notebooks: $(INSTALLED)
	pytest -m index --numprocesses=0

# docs/architectures.md, from the tests of all architectures.
architectures: $(INSTALLED)
	pytest tests/unit/patching/test_architectures.py --all-architectures --dist=worksteal

# Ten times as many mistakes in configurations, files and books as `make test` makes, and others each time.
fuzz: $(INSTALLED)
	FUZZ_EXAMPLES=2000 pytest tests/unit/study/test_mutations.py tests/unit/corpus/test_mutated_books.py --numprocesses=0

check: setup
	ruff check
	ruff format --check
	mypy
	lint-imports --no-cache
	snakefmt --check Snakefile workflow
	snakemake --lint

# docs/files.md, from the schemas of the library, and docs/messages.md, from its code.
docs: $(INSTALLED)
	python -m an_neuron.files.catalogue > docs/files.md.new
	mv docs/files.md.new docs/files.md
	python -m an_neuron.jobs.messages > docs/messages.md.new
	mv docs/messages.md.new docs/messages.md

# The documentation as a site, build/site/index.html; needs no network.
site: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

format: $(INSTALLED)
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

# Newest versions of everything, for all platforms; needs uv.
constraints:
	{ head -n 1 constraints.txt; uv pip compile --quiet --universal --no-annotate --no-header --extra dev pyproject.toml; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf results .snakemake
