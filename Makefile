# Every target sets up .venv by itself, from requirements.txt and constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/ready
export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup ray triton check bars repro report leaderboard experiments leaks audit walk-forward search predict ledger verify backfill ui bench quick test \
  lint clean-checkpoints

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-18s %s\n", $$1, $$2 }'

setup: $(READY) ## make .venv and install what requirements.txt names

$(READY): requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version.split()[0] + "; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $(READY)

ray: $(READY) ## install Ray too, for CAMPAIGN_BACKEND=ray
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-ray.txt -c constraints.txt

triton: $(READY) ## install Triton too, for tests of what a GPU runs
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-triton.txt

check: $(READY) ## tell whether a run can start, and how long it takes
	@python src/campaign.py check

bars: $(READY) ## list the bars the campaign would read, or those under ROOT=directory
	@python src/campaign.py bars $${ROOT:+"$$ROOT"}

repro: $(READY) ## run the stages of the campaign that are not up to date
	dvc repro
	@python src/campaign.py verify --committed

report: repro ## run the campaign, and say where the report is
	@python -c 'import pathlib; print("open", pathlib.Path("reports/comparison.html").resolve().as_uri())'

leaderboard: $(READY) ## list the last campaign's models, best first
	@python src/campaign.py leaderboard

experiments: $(READY) ## list HEAD's experiments: what each one changed, and its F1
	@python src/campaign.py experiments

leaks: $(READY) ## look for leaks in the data and in the training
	@python src/campaign.py leaks

audit: leaks # another name of leaks

walk-forward: $(READY) ## train and judge on several test periods, one after the other
	@python src/campaign.py walk-forward

search: $(READY) ## search the settings of what the comparison recommends, or params.yaml names
	@python src/campaign.py search

predict: $(READY) ## score the newest bars with the first model of the comparison
	@python src/campaign.py predict

ledger: $(READY) ## list the looks at test, and what luck makes of them
	@python src/campaign.py ledger

verify: $(READY) ## run the committed campaign again, and compare every byte
	@python src/campaign.py verify

backfill: $(READY) ## write to MLflow what it lacks of the models that are here
	@python src/campaign.py backfill

ui: $(READY) ## start MLflow's pages, and print their address
	@python src/campaign.py ui

bench: $(READY) ## measure training, data and scaling
	python benchmarks/throughput.py
	python benchmarks/data.py
	python benchmarks/scaling.py
	python benchmarks/checkpoint.py
	python benchmarks/campaign.py

LOOP := tests/learn/test_dataset.py tests/learn/test_fit.py tests/learn/test_gru.py tests/learn/test_layers.py \
  tests/learn/test_loss.py tests/learn/test_networks.py
KERNELS := tests/learn/test_kernels.py tests/learn/test_stacked.py

quick: lint ## ruff, and all tests but the slow ones
	pytest -n 2 --ignore tests/slow -m 'not slow'

test: lint ## ruff, and all tests; the loop's on two instruction sets, a GPU's kernels by Triton's interpreter
	pytest -n 2 --dist loadfile --no-loadscope-reorder
	@if grep -qw avx512f /proc/cpuinfo; then set -x; ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 pytest -n 2 $(LOOP); \
	elif [ "$$(uname -m)" = x86_64 ]; then set -x; ONEDNN_MAX_CPU_ISA=AVX ATEN_CPU_CAPABILITY=default pytest -n 2 $(LOOP); fi
	@if python -c 'import triton' 2> /dev/null; then set -x; TRITON_INTERPRET=1 pytest -n 2 $(KERNELS); \
	else echo "Triton is not installed (make triton): the kernels of a GPU are not tested"; fi

lint: $(READY) ## ruff: style and format
	ruff check .
	ruff format --check .

clean-checkpoints: ## remove the checkpoints of unfinished trainings, also of walk-forward
	rm -rf .checkpoints
