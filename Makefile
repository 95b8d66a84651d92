# Everything one does with this checkout. `make` lists it; `make -n TARGET` shows how.
#
# One virtual environment, .venv, holds all tools. It is filled with uv where that is on
# PATH, with venv and pip otherwise, and again only when the requirements have changed.

# What a caller may set, on the command line or in the environment.
PYTHON ?= python3# makes .venv, once
UV := $(shell command -v uv 2>/dev/null)# `make UV= ...` does without
ONESHOT ?=# 1: the demo ends by itself
DEMO_ARGS ?=
PYTEST_ARGS ?=
# The tests wait for simulators and workers more than they compute, so that four at once
# take half the time of two cores' worth. `make test TEST_WORKERS=0`: one by one.
TEST_WORKERS ?= 4
FAULTS ?=# -k "...": some faults only
FAULTS_KILLS ?=20# random kills on each database; 500 is the long form
RUN_ARGS ?=# another port: make run RUN_ARGS=8010 PUBLIC_URL=http://127.0.0.1:8010
BENCH ?=# names of benchmarks; none: all of them
BENCH_ARGS ?=

# Tests start hundreds of processes, and each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
RUNTIME := .venv/.runtime-installed
DEVELOPMENT := .venv/.development-installed

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install browser demo run test test-sqlite test-postgres test-faults bench check format lock audit clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
	while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

# --- the environment ---------------------------------------------------------------

install: $(DEVELOPMENT) ## make .venv with everything the other targets need

# The stamps are younger than the files they were installed from. The development set
# holds the runtime set, so it stamps both.
$(RUNTIME): requirements.txt | $(BIN)/python
	$(call install_from,requirements.txt)
	@touch $(RUNTIME)

$(DEVELOPMENT): requirements.txt requirements-dev.txt | $(BIN)/python
	$(call install_from,requirements-dev.txt)
	@touch $(RUNTIME) $(DEVELOPMENT)

ifneq ($(UV),)

# Without a PYTHON of the caller's, uv finds or fetches one that pyproject.toml allows.
$(BIN)/python:
	"$(UV)" venv --quiet --allow-existing $(if $(filter-out python3,$(PYTHON)),--python "$(PYTHON)") .venv

define install_from
"$(UV)" pip install --quiet --python $(BIN)/python -r $(1)
endef

else

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "$(PYTHON) is not on PATH: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; \
	  exit 1; } >&2
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" --version), and this needs 3.11 or newer: make PYTHON=python3.11, or install uv"; \
	  exit 1; } >&2
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments (Debian, Ubuntu: apt-get install python3-venv), or install uv"; \
	  exit 1; } >&2
	"$(PYTHON)" -m venv .venv

# The lock is whole, so pip has nothing to choose. Asked to choose, pip before 23.3 takes a
# package with an extra, such as coverage[toml], for one that is not pinned.
define install_from
@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(1)
endef

endif

# Debian's and Ubuntu's, or one that is there already. The tests of pages need it.
browser: ## install Chromium, unless there is one
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { apt-get update && apt-get install -y chromium; } || \
	  { echo "Install Chromium as your system does it; on Debian, as root: make browser" >&2; exit 1; }

# --- running it --------------------------------------------------------------------

demo: $(RUNTIME) ## send a campaign through simulated providers (ONESHOT=1: and exit)
	$(BIN)/python manage.py demo $(if $(filter 1,$(ONESHOT)),--oneshot) $(DEMO_ARGS)

run: $(RUNTIME) ## migrate the local database and serve on http://127.0.0.1:8000
	$(BIN)/python manage.py migrate --noinput
	DEBUG=1 $(BIN)/python manage.py runserver $(RUN_ARGS)

# --- the guards --------------------------------------------------------------------

# File by file, in the order that conftest.py gives: long files first.
IN_PARALLEL = --numprocesses=$(TEST_WORKERS) --dist=loadfile --no-loadscope-reorder

test: test-sqlite test-postgres ## run the tests on SQLite, then on a real PostgreSQL

# In memory, and no file named by somebody's .env: the tests never meet their database.
test-sqlite: $(DEVELOPMENT) ## run the tests on SQLite (PYTEST_ARGS: for pytest)
	@printf '\n=== tests on SQLite ===\n'
	DATABASE_URL=sqlite://:memory: DATABASE_URL_FILE= $(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS)

test-postgres: $(DEVELOPMENT) ## run them on PostgreSQL (TEST_DATABASE_URL: on yours)
	@printf '\n=== tests on PostgreSQL ===\n'
	$(BIN)/python -m marketing_platform.testing.embedded_postgres $(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST_ARGS)

# Real processes, on SQLite files and on a PostgreSQL of their own: docs/reliability.md.
# Both at once, since they mostly wait; 5 says that FAULTS picked none on one of them.
FAULTS_ON = FAULTS_KILLS=$(FAULTS_KILLS) DATABASE_URL=sqlite://:memory: \
  DATABASE_URL_FILE= $(BIN)/python -m pytest -m faults $(FAULTS) --faults-on

test-faults: $(DEVELOPMENT) ## kill, cut and starve it on both databases (FAULTS="-k ...")
	@mkdir -p var; \
	$(FAULTS_ON) sqlite >var/faults-on-sqlite.log 2>&1 & sqlite=$$!; \
	trap 'kill $$sqlite' INT TERM; \
	printf '\n=== faults on PostgreSQL ===\n'; \
	$(FAULTS_ON) postgresql || postgres=$$?; \
	wait $$sqlite || { sqlite=$$?; [ $$sqlite -eq 5 ] || failed=1; }; \
	printf '\n=== faults on SQLite ===\n'; cat var/faults-on-sqlite.log; \
	case $${postgres-0} in 0|5) ;; *) failed=1;; esac; exit $${failed-0}

# Django's own checks see an installation behind TLS, with accounts that cost nothing.
LIKE_PRODUCTION = DEBUG=0 PUBLIC_URL=https://messages.example.com \
  ALLOWED_HOSTS=messages.example.com DATABASE_URL=sqlite://:memory: DATABASE_URL_FILE= \
  $(shell $(BIN)/python -m marketing_platform.testing.accounts)

check: $(DEVELOPMENT) ## run the linters, the type checker and Django's own checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry .
	$(LIKE_PRODUCTION) $(BIN)/python manage.py makemigrations --check --dry-run
	$(LIKE_PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(LIKE_PRODUCTION) $(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

format: $(DEVELOPMENT) ## let ruff mend and format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# --- how fast it is ----------------------------------------------------------------

bench: $(DEVELOPMENT) ## measure (BENCH="claim_record ...", BENCH_ARGS=--json, BENCH_SCALE=full)
	$(BIN)/python -m benchmarks $(BENCH_ARGS) $(BENCH)

# --- upkeep ------------------------------------------------------------------------

COMPILE = "$(UV)" pip compile -q --universal --python-version 3.11 --no-emit-index-url \
  --generate-hashes \
  --custom-compile-command "make lock" pyproject.toml

lock: ## write requirements*.txt anew from pyproject.toml (needs uv)
	@test -n "$(UV)" || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(COMPILE) -o requirements.txt
	$(COMPILE) --extra dev -c requirements.txt -o requirements-dev.txt

# pip-audit in an environment of its own: it is no part of what it looks at.
audit: $(DEVELOPMENT) ## look for advisories about the locked requirements
	@test -x .audit/bin/pip-audit || { $(BIN)/python -m venv .audit && \
	  .audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; } || \
	  { echo "Skipped: pip-audit cannot be installed here."; exit 0; }
	@test ! -x .audit/bin/pip-audit || \
	  $(BIN)/python -m marketing_platform.testing.advisories .audit/bin/pip-audit requirements-dev.txt

clean: ## remove .venv and caches; var/, with your data, stays
	rm -rf .venv .audit .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
