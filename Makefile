# `make help` lists the commands. Needs Python 3.11+ and make; everything else is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Which of the slow tests `make soak` runs: all.
ONLY ?=
# What to examine in `make demo`: by default the recordings in examples/.
FILE ?=
# The labelled speech to train on; see docs/datasets.md for the public ones.
CORPUS ?= ../shared/corpus
EXPERIMENT ?= ml/experiments/located.toml
RUN ?= runs/located-seed2
MANIFEST ?= runs/manifests/earcorpus.csv
SPLIT ?= dev
# The averaged weights at the end of the schedule, or the `best` by held-out EER, a coarse figure (docs/experiments.md).
CHECKPOINT ?= last
# What `make evaluate` judges instead of a run: `default` or `accurate`, as shipped, or a graph's path.
MODEL ?=
CONDITIONS ?= all
JOBS ?= 2
# Where `make export` puts the model it ships.
MODELS ?= models/audio
PROCESSES ?= 2
SCORING = --manifest $(MANIFEST) --split $(SPLIT) --conditions $(CONDITIONS) --jobs $(JOBS) $(if $(filter all,$(CONDITIONS)),--robustness)

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test pipeline check lint format bench soak smoke train compare evaluate calibrate export clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# What the service and the command line need: no PyTorch, no test tools.
$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "earwitness needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[api]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing PyTorch and the tests' tools into $(VENV) ..."
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[api,ml,dev]'
	@touch $@

setup: $(VENV)/.dev ## make .venv with everything, PyTorch and the tests' tools included

demo: $(VENV)/.run ## examine the recordings in examples/ (or FILE=my.mp3) through the real service
	@$(BIN)/python -m scripts.demo $(if $(FILE),"$(FILE)")

serve: $(VENV)/.run ## start the service on http://127.0.0.1:8000 with SQLite and a folder under var/
	$(BIN)/python -m app

# In the order of pyproject.toml's testpaths, the heaviest files first: by their number of tests, as pytest-xdist would have it, a
# file of one long test comes last and one core waits for it.
TESTS = $(BIN)/python -m pytest -q -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: $(VENV)/.dev ## every test but the long ones, under 10 minutes on two cores
	$(TESTS) -m 'not slow and not pipeline'

pipeline: $(VENV)/.dev ## the tests that train, join and export networks: some minutes
	$(TESTS) -m 'pipeline and not slow'

check: lint test pipeline ## what CI runs

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A part of them by pytest's -k: make soak ONLY=fuzzed, ONLY=many_examples (Schemathesis), ONLY=killed, ONLY=three_workers,
# ONLY=ten_thousand_runs (SOAK_RUNS=1500 for fewer); what they measured is printed at the end.
soak: $(VENV)/.dev ## the slow tests: 3-hour files, 100 kills, 10,000 fuzzed uploads, 2,000 runs among dying workers, memory over 10,000 runs; ONLY=... for some
	$(BIN)/python -m pytest -q -rP -m slow --timeout 3600 $(if $(ONLY),-k '$(ONLY)')

bench: $(VENV)/.dev ## print speed and memory, each beside something measured in the same run
	$(BIN)/python benchmarks/bench_library.py
	$(BIN)/python benchmarks/bench_path.py
	$(BIN)/python benchmarks/bench_report.py
	$(BIN)/python benchmarks/bench_augment.py
	$(BIN)/python benchmarks/bench_bulk.py
	$(BIN)/python benchmarks/bench_service.py
	$(BIN)/python benchmarks/bench_runs.py

smoke: $(VENV)/.dev ## the training pipeline from end to end on a toy corpus, in about a minute
	$(BIN)/python -m pytest -q ml/tests/test_smoke.py

# Only this manifest is made here; another one is made by `python -m ml.datasets prepare` (README).
runs/manifests/earcorpus.csv: | $(VENV)/.dev
	@mkdir -p $(dir $@)
	$(BIN)/python -m ml.datasets prepare earcorpus $(CORPUS) $@

train: $(VENV)/.dev $(MANIFEST) ## train the detector on CORPUS (some two hours on two cores); goes on where it was stopped
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m ml.training --config $(EXPERIMENT) --manifest $(MANIFEST) --out $(RUN)
	$(BIN)/python -m ml.export candidate --run $(RUN) --checkpoint $(CHECKPOINT)

compare: $(VENV)/.dev $(MANIFEST) ## train short runs that differ in one ingredient each, three seeds; print their table (a night)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m ml.training.compare --config ml/experiments/compare/ingredients.toml --manifest $(MANIFEST)

evaluate: $(VENV)/.dev $(MANIFEST) ## print every figure of the run's candidate, or of the shipped model where there is no run; MODEL=accurate
	$(BIN)/python -m ml.evaluation evaluate $(SCORING) $(if $(MODEL),--model $(MODEL),$(if $(wildcard $(RUN)/candidate/model.onnx),--run $(RUN)))

calibrate: $(VENV)/.dev ## fit the candidate's calibration and thresholds on recordings held out of training
	$(BIN)/python -m ml.evaluation calibrate --run $(RUN) --jobs $(JOBS)

export: $(VENV)/.dev $(MANIFEST) ## check the calibrated candidate and make it the shipped model
	$(BIN)/python -m ml.export promote --models $(MODELS) --run $(RUN) $(SCORING) $(if $(filter models/audio,$(MODELS)),--card docs/model-card.md)

clean: ## remove what was built, trained models under runs/ excepted
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis
