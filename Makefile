# `make help` lists the commands. Needs Python 3.11+ and make; everything else is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CORPUS ?= ../shared/corpus
FILE ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check lint bench soak smoke train evaluate calibrate export clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "earwitness needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[api]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) install --quiet --constraint constraints.txt --editable '.[api,ml,dev]'
	@touch $@

RUN ?= runs/baseline-seed1
MANIFEST := runs/manifests/earcorpus.csv
SMOKE := runs/smoke

setup: $(VENV)/.dev ## make .venv with everything, PyTorch and the tests' tools included

$(MANIFEST): $(VENV)/.dev
	$(BIN)/python -m ml.datasets prepare earcorpus --root $(CORPUS) --out $@

train: $(MANIFEST) ## train the detector on CORPUS (about 100 minutes on two cores; goes on where it was stopped)
	$(BIN)/python -m ml.training --config ml/experiments/baseline.toml --out $(RUN)
	$(BIN)/python -m ml.export candidate --run $(RUN)

evaluate: $(MANIFEST) ## print every figure of the last run's candidate, or of the shipped model where there is no run
	$(BIN)/python -m ml.evaluation evaluate $(if $(wildcard $(RUN)/candidate/model.onnx),--run $(RUN)) --conditions all

calibrate: $(VENV)/.dev ## fit the candidate's calibration and thresholds on recordings held out of training
	$(BIN)/python -m ml.evaluation calibrate --run $(RUN)

export: $(VENV)/.dev ## check the calibrated candidate and make it the shipped model
	$(BIN)/python -m ml.export promote --run $(RUN) --conditions all

smoke: $(VENV)/.dev ## the whole pipeline on a toy corpus, in about a minute
	$(BIN)/python -m pytest -q ml/tests/test_smoke.py
