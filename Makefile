# make setup     an environment in .venv (SET=cuda for the CUDA build of torch)
# make demo      the whole study in miniature: CPU only, nothing downloaded
# make test      lint and tests but for the long ones
# make test-all  all of them: also whole studies, faults, kills, SLURM, the report in a browser, the demo's baseline
# make gpu-check what a GPU does with this, in results/gpu_check.md (CHECK="--device cpu --size tiny" tries it without)

SET ?= cpu
CORES ?= 2
PYTHON3 ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
READY := $(VENV)/.ready-$(SET)
# Whole files to each core, which one thread keeps busy.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder
DEMO := snakemake all --cores $(CORES) --configfile workflow/config/demo.yaml

.PHONY: setup demo lint test test-all gpu-check format clean

setup: $(READY)

$(READY): envs/requirements-$(SET).txt pyproject.toml
	$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with PYTHON3=")'
	$(PYTHON3) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	# Only its vocabulary is used, as an oracle in tests; what it depends on is not needed.
	$(VENV)/bin/python -m pip install --quiet --no-deps open_clip_torch==3.3.0
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: $(READY)
	$(RUN) $(DEMO)
	@$(RUN) python -m pipeline.reporting.show --results results/demo

lint: $(READY)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) lint-imports --no-logo

test: lint
	$(RUN) $(PYTEST) -m "not long"

test-all: lint
	$(RUN) $(PYTEST)

# Without .venv: the machine's own python3, with what .site adds to it; see README, Performance.
gpu-check:
	PYTHONPATH="$(CURDIR)/.site$${PYTHONPATH:+:$$PYTHONPATH}" $(or $(wildcard $(VENV)/bin/python),python3) \
	  -m pipeline.benchmark.check $(CHECK)

format: $(READY)
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
	$(RUN) snakefmt Snakefile workflow

clean:
	rm -rf results/demo
