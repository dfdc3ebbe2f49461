# Every target sets up .venv by itself, from requirements.txt and constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/ready
export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup check repro leaderboard experiments report ui verify audit bench quick test lint clean-checkpoints

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-18s %s\n", $$1, $$2 }'

setup: $(READY) ## make .venv and install what requirements.txt names

$(READY): requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version.split()[0] + "; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $(READY)

check: $(READY) ## tell whether a run can start, and how long it takes
	python src/check_campaign.py

repro: $(READY) ## run the stages of the campaign that are not up to date
	dvc repro
	@python src/verify.py committed

leaderboard: $(READY) ## list the last campaign's models, best first
	@python src/leaderboard.py

experiments: $(READY) ## list HEAD's experiments: what each changed, and its F1
	@python src/leaderboard.py experiments

verify: $(READY) ## run what is committed again, and compare every byte
	python src/verify.py

report: repro ## run the campaign, and say where the report is
	@python -c 'import pathlib; print("open", pathlib.Path("reports/comparison.html").resolve().as_uri())'

ui: $(READY) ## start MLflow's pages, and print their address
	@python src/tracking.py ui

audit: $(READY) ## look for leaks in the data and in the campaign
	python src/audit.py

bench: $(READY) ## measure training, data and scaling
	python benchmarks/throughput.py
	python benchmarks/data.py
	python benchmarks/scaling.py
	python benchmarks/checkpoint.py
	python benchmarks/campaign.py

LOOP := tests/core/test_dataset.py tests/core/test_fit.py tests/core/test_gru.py tests/core/test_layers.py \
  tests/core/test_loss.py tests/test_models.py

quick: lint ## lint, and all tests but the slow ones
	pytest -n 2 -m 'not slow'

test: lint ## lint and tests, the loop's on two instruction sets
	pytest -n 2 --dist loadfile --no-loadscope-reorder
	@if grep -qw avx512f /proc/cpuinfo; then set -x; ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 pytest $(LOOP); \
	elif [ "$$(uname -m)" = x86_64 ]; then set -x; ONEDNN_MAX_CPU_ISA=AVX ATEN_CPU_CAPABILITY=default pytest $(LOOP); fi

lint: $(READY) ## ruff
	ruff check .
	ruff format --check .

clean-checkpoints: ## forget unfinished trainings
	rm -rf .checkpoints
