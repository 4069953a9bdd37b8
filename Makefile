# Everything goes through a virtual environment in .venv, made from the lock file on first use. Nothing is installed elsewhere, except
# the testbed's programs in their cache (see tests/testbed/README.md).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready.stamp
COMPILED := $(VENV)/compiled.stamp
SYSTEM_TIMEOUT := 300

# The layers that must not touch the outside: their own tests have to reach nearly every line.
PURE := methods evidence checks strategies status change profile history quantities workload promql
PURE_COVERAGE := 97
PURE_TESTS := $(wildcard $(PURE:%=tests/unit/test_%*.py))
COVERAGE := $(PURE:%=--cov=rightsizer.%) --cov-branch --cov-report=term:skip-covered --cov-fail-under=$(PURE_COVERAGE)

# What asks a Prometheus, of the tests against the real parts.
PROMETHEUS_TESTS := $(wildcard $(addprefix tests/system/test_,prometheus*.py operator_prometheus.py measuring*.py recording_rules.py exactness.py operator.py cli.py))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check unit system test-prometheus-2 test-realnode static testbed format lock picture clean chaos bench-measure bench-create bench-evidence accuracy crds

help: ## print this
	@echo "make TARGET, one of:"
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1 /p' $(MAKEFILE_LIST) | while read -r name text; do printf '  %-17s %s\n' "$$name" "$$text"; done
	@echo
	@echo "Start with \`make demo\`. CI=true lets the demo check its results and end by itself."

demo: $(READY) ## the whole product on a cluster of this machine: measures, recommends, resizes
	@$(BIN)/python -m demo

test: $(COMPILED) static testbed ## everything: static checks, unit tests, tests against the real control plane and Prometheus
	@$(BIN)/pytest tests --timeout=$(SYSTEM_TIMEOUT) $(COVERAGE)

check: $(COMPILED) ## the quick loop, below a minute: static checks and unit tests
	@$(MAKE) --no-print-directory --output-sync=target -j2 static unit-pure unit-edge

unit: $(COMPILED) ## unit tests, with the coverage of the pure layers
	@$(MAKE) --no-print-directory --output-sync=target -j2 unit-pure unit-edge

.PHONY: unit-pure unit-edge
unit-pure: $(COMPILED)
	@$(BIN)/pytest -q $(PURE_TESTS) $(COVERAGE)

unit-edge: $(COMPILED)
	@$(BIN)/pytest -q -m "not system" $(PURE_TESTS:%=--ignore=%)

system: $(COMPILED) testbed ## tests against the real control plane and Prometheus
	@$(BIN)/pytest -m system --timeout=$(SYSTEM_TIMEOUT)

# Prometheus 2 is built here only, and named as the folder of prebuilt programs.
test-prometheus-2: $(COMPILED) ## the tests of what is asked of Prometheus, against 2.45, the oldest that is promised (built once, 3 minutes)
	@folder=$$($(BIN)/python -m tests.testbed.build --prometheus-2) && $$folder/prometheus --version | head -n 1 && \
	  RIGHTSIZER_TESTBED_ASSETS=$$folder $(BIN)/pytest $(PROMETHEUS_TESTS) -k "not victoria_metrics" --timeout=$(SYSTEM_TIMEOUT)

test-realnode: $(COMPILED) testbed ## the tests on a real kubelet only (Linux as root, with Debian's packages; else skipped with the reason)
	@$(BIN)/pytest -m realnode --timeout=$(SYSTEM_TIMEOUT)

static: $(READY) ## lint, format, types, direction of imports
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run make format" >&2; exit 1; }
	@$(BIN)/mypy --strict operator tests demo
	@$(BIN)/lint-imports --no-logo

testbed: $(READY) ## build the testbed: etcd, Kubernetes, kwok, Prometheus, VictoriaMetrics (once, about 15 minutes)
	@$(BIN)/python -m tests.testbed.build >/dev/null
	@$(BIN)/python -m tests.realnode.build

format: $(READY) ## format the code and sort its imports
	@$(BIN)/ruff check --quiet --fix --select I .
	@$(BIN)/ruff format .

bench-measure: $(READY) testbed ## what measuring costs, beside other ways to ask (SIZES="1000 3000"); the whole run writes docs/benchmarks.md
	@$(BIN)/python -m tests.bench.measure --docs

chaos: $(READY) testbed ## the operator killed again and again in the middle of 200 changes (KILLS=100); writes build/chaos.json
	@$(BIN)/python -m tests.chaos --kills $(or $(KILLS),100)

bench-create: $(READY) testbed ## what sizing pods at their creation costs: pods per second by number of entries; writes docs/benchmarks.md
	@$(BIN)/python -m tests.bench.create --docs

bench-evidence: $(READY) ## what replaying 14 days of 10,000 containers costs, on one core: Measured (a minute), then Learned (two)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.evidence
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.evidence --method Learned

accuracy: $(READY) ## how good every rule is on recorded usage, by source; writes docs/accuracy.md (RIGHTSIZER_TRACES=DIR: more usage, else what was made of it stays)
	@$(BIN)/python -m tests.accuracy.page

crds: $(READY) ## write the definition of ClusterResourceProfile, which has the spec of ResourceProfile
	@$(BIN)/python -m tests.cluster_profile_definition

picture: $(READY) ## run the demo and draw the pictures of docs/demo from what it printed
	@CI=true $(BIN)/python -m demo
	@$(BIN)/python -m demo.picture

PIP_TOOLS := pip-tools==7.6.2
COMPILE := build/lock/bin/pip-compile -q --strip-extras --generate-hashes --allow-unsafe \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header

lock: ## renew both lock files from pyproject.toml; UPGRADE=--upgrade takes newer versions
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/pip install --quiet $(PIP_TOOLS)
	@$(COMPILE) $(UPGRADE) --output-file=requirements.lock pyproject.toml
	@$(COMPILE) $(UPGRADE) --extra=dev --constraint=requirements.lock --output-file=requirements-dev.lock pyproject.toml
	@rm -rf build/lock

clean: ## remove what the project made in this folder; the cache of the testbed stays
	@rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find operator tests demo -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: Python 3.11 or newer is needed, \`$(PYTHON)\` is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "error: the modules venv and ensurepip are missing (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing the locked dependencies into $(VENV) (once, about half a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --no-compile --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install --quiet --no-compile --no-deps --no-build-isolation -e .
	@touch $@

# The demo need not wait for this. The tests must: with warnings as errors, one about somebody else's code, which Python only gives while
# it compiles, would fail the test that happens to import it first.
$(COMPILED): $(READY)
	@$(BIN)/python -W ignore -m compileall -q -q -j 0 $(VENV)/lib || true
	@touch $@
