# Every target makes .venv from requirements.lock first, if it is missing or older.
PYTHON ?= python3
WORKERS ?= 2
TESTS ?= tests
GPU_TESTS ?= tests/models tests/objectives tests/optimization tests/tasks tests/conformance tests/modules \
  tests/evaluation tests/serving tests/export/test_export.py tests/training/test_resume.py tests/data/test_blur.py \
  tests/distribution/test_cross_replica.py tests/distribution/test_exact_matmul.py tests/distribution/test_strategy.py
# Of the package as installed for a TPU VM, on the CPU of any machine.
TPU_TESTS ?= tests/test_run.py tests/modules tests/optimization tests/conformance/test_tpu_strategy.py
# Of `simclrv2 rehearse`; by default pretraining ResNet-50 on ImageNet.
RUN ?= --tpu=v5e-8 --precision=mixed_bfloat16 --train_batch_size=1024
# Of the claims: small, gpu or full.
SCALE ?= small
# Of learning: where the other programs are.
PEERS ?=
# The newest that TensorFlow 2.20 was seen to load.
LIBTPU ?= 0.0.21
BENCHMARK ?= every
BENCH_ARGS ?=
SIGKILLS ?= 10
SIGTERMS ?= 5
LATE_KILLS ?= 3
KILL_SEED ?= 1

python := .venv/bin/python
installed := .venv/.installed
check_python = $(PYTHON) -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 14))' || \
  { echo "requirements.lock is for Python 3.11.4 to 3.13: name one, as in: make PYTHON=python3.11"; exit 1; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: browser coverage help install install-tpu test-install-tpu quickstart semi-supervised claims learning rehearse rehearse-test test test-gpu soak lint format bench clean docs

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(installed)  ## Make .venv from requirements.lock

quickstart: $(installed)  ## Pretrain and evaluate on handwritten digits, into runs/quickstart
	$(python) run.py --flagfile=flags/recipes/quickstart.cfg

semi-supervised: $(installed)  ## Pretrain, fine-tune with 5 % of the labels and distill, on digits: one table
	$(python) benchmarks/semi_supervised.py

claims: $(installed)  ## Re-test claims of the paper on Fashion-MNIST, at small scale (docs/claims.md)
	$(python) benchmarks/paper_claims.py --scale=$(SCALE)

learning: $(installed)  ## Compare what is learned with the published program and lightly (PEERS="--published=FOLDER ...")
	$(python) benchmarks/learning_with_peers.py $(PEERS)

test: $(installed) $(if $(filter tests tests/report%,$(TESTS)),browser)  ## Run the tests (some of them: make test TESTS=tests/models)
	$(python) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=20 $(TESTS)

test-gpu: $(installed)  ## Run the tests of what a GPU computes on the first GPU, if there is one
	TEST_ON_GPU=1 $(python) -m pytest --durations=20 $(GPU_TESTS)

coverage: $(installed) browser  ## Run the tests and report how much of the library they cover; a fifth slower
	$(python) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov=tf_simclrv2 --cov-report=term $(TESTS)

# TensorFlow for TPUs puts its files where tensorflow does, so whatever asks for tensorflow is installed without asking.
.venv-tpu/.installed-$(LIBTPU): requirements.lock setup.py
	@$(check_python)
	@echo "Installing requirements.lock into .venv-tpu, with TensorFlow for TPUs: takes a few minutes and 4 GB on disk."
	@$(PYTHON) -m venv .venv-tpu
	@sed 's/^tensorflow==/tensorflow-tpu==/' requirements.lock >.venv-tpu/requirements.txt
	@.venv-tpu/bin/pip install --quiet --disable-pip-version-check --no-deps -r .venv-tpu/requirements.txt libtpu==$(LIBTPU)
	@.venv-tpu/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f .venv-tpu/.installed* && touch $@

install-tpu: .venv-tpu/.installed-$(LIBTPU)  ## Make .venv-tpu, for a TPU VM (docs/tpu.md)

# Without TPU_SKIP_MDS_QUERY, libtpu waits for the metadata server of a TPU VM.
test-install-tpu: .venv-tpu/.installed-$(LIBTPU)  ## Run some of the tests with TensorFlow for TPUs, on the CPU
	.venv-tpu/bin/python -c 'from importlib.metadata import version; version("tensorflow-tpu")'
	TPU_SKIP_MDS_QUERY=1 .venv-tpu/bin/python -m pytest -n $(WORKERS) --dist loadfile --durations=20 $(TPU_TESTS)

.build/rehearsal/.installed: requirements.lock requirements-rehearsal.lock setup.py
	@echo "Installing requirements.lock, JAX and the TPU's compiler into .build/rehearsal: takes a few minutes and 4.5 GB on disk."
	@$(check_python)
	@$(PYTHON) -m venv .build/rehearsal
	@.build/rehearsal/bin/pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-rehearsal.lock
	@.build/rehearsal/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

rehearse: .build/rehearsal/.installed  ## Compile a run's step for a TPU slice that you need not have (RUN="--tpu=v5e-8 ...")
	.build/rehearsal/bin/simclrv2 rehearse $(RUN)

rehearse-test: .build/rehearsal/.installed  ## Run the tests that need the TPU's compiler
	.build/rehearsal/bin/python -m pytest -n $(WORKERS) --dist loadfile --durations=20 tests/rehearsal

.build/docs/.installed: requirements-docs.lock
	@$(PYTHON) -m venv .build/docs
	@.build/docs/bin/pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	@touch $@

# The tests of reports look at them in Chromium; where they may install it, it comes by itself.
browser:
	@[ -n "$$CHROMIUM$$(which chromium chromium-browser google-chrome 2>/dev/null)" ] || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    echo "Installing Chromium, in which the tests look at reports." && apt-get -qq update && \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null; } || \
	  echo "Chromium is missing, and tests/report needs it: apt-get install chromium, or make CHROMIUM=PATH"

soak: $(installed)  ## Kill a small run many times; it must end like an undisturbed one (SIGKILLS=, SIGTERMS=, LATE_KILLS=, KILL_SEED=)
	SIGKILLS=$(SIGKILLS) SIGTERMS=$(SIGTERMS) LATE_KILLS=$(LATE_KILLS) KILL_SEED=$(KILL_SEED) $(python) -m pytest tests/faults

lint: $(installed)  ## Check style, formatting and types
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m pyright

docs: .build/docs/.installed  ## Build the documentation into .build/site, strictly
	.build/docs/bin/mkdocs build --strict

format: $(installed)  ## Format the code and apply the safe fixes
	$(python) -m ruff check --fix-only .
	$(python) -m ruff format .

bench: $(installed)  ## Measure everything, into runs/bench (one program: make bench BENCHMARK=NAME; options: BENCH_ARGS=)
	$(python) benchmarks/$(BENCHMARK).py $(BENCH_ARGS)

clean:  ## Remove .venv, .venv-tpu, caches and the output of packaging; runs/ stays
	rm -rf .venv .venv-tpu .build dist *.egg-info .pytest_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(installed): requirements.lock setup.py
	@$(check_python)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing: apt-get install python3-venv, or make PYTHON=another"; exit 1; }
	@echo "Installing TensorFlow and the rest of requirements.lock into .venv: takes a few minutes and 3.7 GB on disk."
	@$(PYTHON) -m venv .venv
	@$(python) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(python) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
