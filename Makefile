# Needs Python 3.11, 3.12 or 3.13 and nothing else; everything is installed into .venv, with PYTHON=python3.13 into .venv-3.13.
ifeq ($(origin PYTHON),undefined)
PYTHON := python3
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.tools
EXTRAS := $(VENV)-extras/.installed
# PyTorch: TORCH=keep takes the one that is installed, TORCH_INDEX=URL one from an index or a folder that the user names.
INSTALL = $(PYTHON) tools/install.py $(VENV) --torch "$(TORCH)" --torch-index "$(TORCH_INDEX)"
# PyTorch and TensorFlow never share a test process.
TESTS = $(BIN)/python -m pytest -n 2 --dist loadgroup tests/unit tests/contract tests/docs -m "not process" && \
	$(BIN)/python -m pytest tests/unit tests/contract tests/docs -m "not process" --frameworks tensorflow

.DEFAULT_GOAL := help
.PHONY: help demo test test-jax test-ray check check-interpreters check-interpreter test-process test-process-sample test-process-fast-rounds test-process-slow-machine test-gpu chaos chaos-sample failpoints determinism misbehaviour combinations aggregation-examples bench bench-quick robustness learning docs image-check golden protos clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 28

$(INSTALLED): pyproject.toml setup.py constraints.txt
	@$(INSTALL) torch,sklearn
	@touch $@

$(TOOLS): $(INSTALLED)
	@$(INSTALL) torch,tensorflow,sklearn,dev,docs
	@touch $@

demo: $(INSTALLED) ## Set everything up and run a federation of four hospitals on this machine
	$(BIN)/fx demo

test: $(TOOLS) ## Run all tests, those with real processes too
	$(TESTS)
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests -m process

$(EXTRAS): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)-extras
	$(VENV)-extras/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[jax,ray,test]"
	@touch $@

test-jax: $(EXTRAS) ## Run the tests of JAX, in an environment that it shares with Ray, for which 250 MB are fetched
	$(VENV)-extras/bin/python -m pytest tests/contract --frameworks jax

test-ray: $(EXTRAS) ## Run the tests of Ray, in an environment that it shares with JAX
	$(VENV)-extras/bin/python -m pytest tests/contract/test_contract_runtimes.py tests/process/test_process_ray.py

test-process: $(TOOLS) ## Run the tests that start real daemons
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests -m process

test-process-sample: $(TOOLS) ## The same with one in eight of the long ones, by a seed that is drawn and printed
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests -m process --sample $(or $(SEED),$(shell $(PYTHON) -c 'import random; print(random.randrange(10000))'))

test-process-fast-rounds: $(TOOLS) ## The same with rounds that are over long before a test hears of them: make … FILES=tests/process/…
	OPENFL_LIKE_TEST_LATENESS_S=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(or $(FILES),tests/process) -m process

test-process-slow-machine: $(TOOLS) ## The same with every process of a federation slowed five times (two hours; they wait most of the time: WORKERS=4 halves it)
	OPENFL_LIKE_TEST_SLOWNESS=5 $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadgroup $(or $(FILES),tests/process) -m process

test-gpu: $(TOOLS) ## Run the tests that need an NVIDIA GPU; where there is none, say so and end well
	$(BIN)/python tools/gpu.py

check: $(TOOLS) ## Formatting, lint, types, layers, and every test without child processes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTS)

check-interpreters: ## The tests that need no learning framework, on every other Python from 3.11 to 3.13 that runs here
	$(PYTHON) tools/interpreters.py

check-interpreter: ## The same on one of them that is drawn
	$(PYTHON) tools/interpreters.py --one

chaos: $(INSTALLED) ## Break a federation at random and check what is left: make chaos SEED=1 FAULTS=200
	$(BIN)/python -m openfl_like.testing.faults.chaos $(if $(SEED),--seed $(SEED)) --faults $(or $(FAULTS),200) $(if $(MIX),--mix $(MIX)) $(if $(RATE),--rate $(RATE))

chaos-sample: $(INSTALLED) ## The same with 25 faults of a seed that is drawn and printed
	$(BIN)/python -m openfl_like.testing.faults.chaos --faults 25

failpoints: $(INSTALLED) ## Kill a process at every failpoint once: make failpoints ACTION=kill POINTS="…"
	$(BIN)/python -m openfl_like.testing.faults.failpoint_suite --action $(or $(ACTION),kill) $(POINTS)

determinism: $(INSTALLED) ## Run one plan again and again, a process killed in each run, and compare the bytes: make determinism RUNS=50 PLAN=plans/digits_scaffold.yaml
	$(BIN)/python -m openfl_like.testing.faults.determinism --runs $(or $(RUNS),50) $(if $(SEED),--seed $(SEED)) $(if $(PLAN),--plan $(PLAN))

misbehaviour: $(INSTALLED) ## Have workers misbehave at random, in simulations and in a federation: make misbehaviour RUNS=200 SEED=1
	$(BIN)/python -m openfl_like.testing.misbehaviour --runs $(or $(RUNS),200) $(if $(SEED),--seed $(SEED))

combinations: $(TOOLS) ## Run plans that combine what learning offers, drawn at random: make combinations COUNT=300 SEED=7
	OPENFL_LIKE_COMBINATIONS=$(or $(COUNT),300) OPENFL_LIKE_SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/unit/runtimes/test_runtimes_combinations.py

aggregation-examples: $(TOOLS) ## Compare the robust rules with naive references on many drawn examples: make aggregation-examples COUNT=10000
	OPENFL_LIKE_EXAMPLES=$(or $(COUNT),10000) $(BIN)/python -m pytest tests/unit/aggregation/test_aggregation_robust.py

bench: $(TOOLS) ## Measure everything (half an hour) and write docs/benchmarks anew
	$(BIN)/python benchmarks/suite.py --out docs/benchmarks/results.jsonl
	$(BIN)/python benchmarks/report.py

bench-quick: $(TOOLS) ## Try every benchmark with small sizes (5 minutes); figures and plots go to a temporary folder
	@place=$$(mktemp -d); \
	$(BIN)/python benchmarks/suite.py --quick --out $$place/results.jsonl && \
	$(BIN)/python benchmarks/report.py --directory $$place && \
	cp docs/learning.md $$place && \
	$(BIN)/python benchmarks/learning.py --sample --directory $$place/runs --figures $$place/learning.jsonl --write $$place/learning.md && \
	echo "see $$place"

robustness: $(INSTALLED) ## Try attacks against rules and validators (3 minutes) and write docs/robustness.md anew
	$(BIN)/python benchmarks/robustness.py --write docs/robustness.md

learning: $(TOOLS) ## Run every algorithm on three federations (15 minutes; goes on where it was interrupted) and write docs/learning.md anew
	$(BIN)/python benchmarks/learning.py --write docs/learning.md

docs: $(TOOLS) ## Build the documentation site; a warning is an error
	$(BIN)/sphinx-build -q -W --keep-going -c docs/site -b html . build/docs
	@echo "see build/docs/index.html"

image-check: $(TOOLS) ## Build the image without a daemon and play docs/deploy/compose.yaml with it (root; buildah, debootstrap)
	$(BIN)/python tests/image/check_image.py

golden: $(TOOLS) ## Write the golden files anew; the difference is for you to judge
	OPENFL_LIKE_GOLDEN=1 $(BIN)/python -m pytest -q tests/unit tests/docs -m "not process"

protos: $(TOOLS) ## Generate the messages from the protocol file
	$(BIN)/python -m grpc_tools.protoc -Iopenfl_like/wire/protos --python_out=openfl_like/wire/protos \
		--pyi_out=openfl_like/wire/protos openfl_like/wire/protos/federation.proto

clean: ## Remove the virtual environment and everything that tools left
	rm -rf $(VENV) .venv-extras .venv-3.* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
