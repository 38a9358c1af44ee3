# What people type. Everything happens in .venv and .modnet beside this file.

# A flag of `modnet config`, which knows its default, where the variable is given.
given = $(if $($2),--$1 '$($2)')

BIN := .venv/bin

# Threads that spin while they wait slow everything down as soon as something else runs.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0

.DEFAULT_GOAL := help
.PHONY: help install agent legacy-runtimes nightly cluster-demo up down deployments test test-slow check lint format docs

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install:  ## .venv with everything pinned (PYTHON= takes yours)
	@infra/environment.sh

legacy-runtimes: install  ## Python 3.9 with OpenVINO 2021.4.2 and 2022.3.2 in .modnet/legacy (PYTHON39= takes yours)
	@PYTHON=$(BIN)/python infra/legacy_runtimes.sh .modnet/legacy

agent: install  ## the edge agent as one file: dist/modnet-agent.pyz
	@$(BIN)/python -m infra.agent_file dist/modnet-agent.pyz

nightly: install  ## one whole run, from data set to leaderboard (DATASET= BASE= START= PROFILE=demo|standard PRUNING= SEARCH= MAX_MSE_RATIO= LICENCE=)
	@mkdir -p .modnet
	@$(BIN)/modnet config --json $(call given,profile,PROFILE) $(call given,dataset,DATASET) \
	  $(call given,base,BASE) $(call given,pruning,PRUNING) $(call given,search,SEARCH) \
	  $(call given,start,START) \
	  $(call given,max-mse-ratio,MAX_MSE_RATIO) $(call given,licence,LICENCE) > .modnet/parameters.json
	@$(BIN)/python -m infra.local_stack nightly --parameters-file .modnet/parameters.json

cluster-demo: install  ## a small run on a Ray head and two nodes that share no disk, played on this machine
	@$(BIN)/python -m benchmarks.cluster

up: install  ## start Prefect, SeaweedFS and worker, and say where the UI is
	@$(BIN)/python -m infra.local_stack up

down: install  ## stop what `make up` started
	@$(BIN)/python -m infra.local_stack down

deployments: install  ## write prefect.yaml anew, after a change of flows or configs
	@$(BIN)/python -m flows.deployments

test: install  ## the default tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: install  ## what takes minutes: whole runs, all photographs
	$(BIN)/python -m pytest -m slow

check: lint  ## lint, unit and contract tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow" tests/contract tests/unit

lint: install  ## format, style, types, import arrows, the Python 3.9 floor of what runs on devices
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips --target=3.9- --violations --eval-annotations $$($(BIN)/python -c \
	  'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["ruff"]["per-file-target-version"])')

format: install  ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## the pages of docs/ as a site in .modnet/site, every link checked
	$(BIN)/mkdocs build  # not --quiet: it counts no warnings then
