# Each target is one command; `make help` lists them.

LAB ?= lab.yaml
HOST = alice-pc
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/lab -f $(LAB)

.DEFAULT_GOAL := help
.PHONY: help up down status plan ssh logs doctor compose schema picture check format \
        test test-fast bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: .venv/lab ## launch the lab and wait until it is ready (LAB=lab.yaml)
	@$(RUN) up

down: .venv/lab ## remove the lab; its volumes stay
	@$(RUN) down

status: .venv/lab ## show every node and whether it answers
	@$(RUN) status

plan: .venv/lab ## print what `make up` would do
	@$(RUN) plan

ssh: .venv/lab ## log in to a client (HOST=alice-pc)
	@$(RUN) ssh $(HOST)

logs: .venv/lab ## print what the nodes have logged
	@$(RUN) logs

doctor: .venv/lab ## check this machine, name cause and cure
	@$(RUN) doctor

compose: .venv/lab ## render docker-compose.yml from lab.yaml
	@$(BIN)/lab -f lab.yaml compose -o docker-compose.yml

schema: .venv/lab ## render the JSON Schema of lab files
	@$(BIN)/lab schema -o docs/lab.schema.json

picture: .venv/lab ## draw docs/lab.svg from lab.yaml
	@$(BIN)/lab -f lab.yaml graph -o docs/lab.svg

check: .venv/dev ## formatting, lint, types and house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy orchestrator services benchmarks tests
	$(BIN)/pytest -q tests/style

format: .venv/dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# A lab test that cannot run fails; LAB_TESTS=off leaves them out, and says so.
test: check ## everything: checks, unit, wire and lab tests
ifeq ($(LAB_TESTS),off)
	@echo "LAB_TESTS=off: the lab tests are left out"
	$(BIN)/pytest -q -n auto tests/unit tests/wire
else
	$(BIN)/pytest -q -n auto tests/unit tests/wire
	$(BIN)/lab images build
	$(BIN)/pytest -q --durations=10 tests/lab
endif

test-fast: .venv/dev ## only the tests that need no engine
	$(BIN)/pytest -q -n auto tests/unit tests/wire tests/style

bench: .venv/dev ## measure the launch against the same containers running sleep
	$(BIN)/python -m benchmarks.launch

lock: .venv/dev ## bring the lock files up to date (needs uv)
	uv pip compile --universal --no-strip-extras --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements.in -o requirements.lock
	uv pip compile --universal --no-strip-extras --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements-dev.in -o requirements-dev.lock -c requirements.lock
	uv pip compile --universal --no-strip-extras --python-version 3.13 --generate-hashes --no-emit-index-url --no-annotate --no-header services/requirements.in -o services/requirements.lock

clean: ## remove what make and the tests have made here (not labs: make down)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment: what `lab` needs, then what its tests need too.
.venv/lab: requirements.lock pyproject.toml
	@PYTHON=$(PYTHON) sh orchestrator/make-venv requirements.lock
	@touch $@

.venv/dev: .venv/lab requirements-dev.lock
	@PYTHON=$(PYTHON) sh orchestrator/make-venv requirements-dev.lock
	@touch $@
