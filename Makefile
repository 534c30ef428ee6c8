# Each target does its own set-up; see .ci/setup.
#
#   make demo         a shop, clew in front of it and a partner's server: open the printed addresses
#   make demo-once    drives one visitor through the demo; exits 0 only if the partner got the right postback
#   make shots        pictures of the widget and of the desk's pages in the folder shots/
#   make test         the whole test suite; ARGS="-k cookie" for a part
#   make check        ruff, ruff format, mypy
#   make bench        measures clew and its peers; NAME=proxy for one, SEED=1 to repeat; for a part
#                     without writing the results: ARGS="--only html100k --servers clew,nginx"
#   make fuzz         runs the coverage-guided fuzzer; TARGET=wire for one target, SECONDS=600 for
#                     all together
#   make soak         load test of clew serve and the middleware with a faulty shop; REQUESTS=200000
#                     CONCURRENCY=200 SEED=1
#   make crash        orders while clew and its stores are killed and started again; SEED=1, and for a
#                     part, or on SQLite: ARGS="--orders 500 --kills 5 --stores sqlite"; with
#                     --stores network their links are cut
#   make networks     writes the table of docs/networks.md from the catalogue
#   make facts        writes the table of facts in docs/rules.md from rules/fact_table.py
#   make roles        writes the table of roles in docs/operations.md from desk/roles.py
#   make scripts      writes the scripts that browsers get, templates/built/, from their sources
#   make pins         renews requirements-dev.txt and requirements-mitmproxy.txt from pyproject.toml

BIN = .venv/bin

# Programs are started often here: compiled code is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-once shots test check bench fuzz soak crash setup networks facts roles scripts pins
.DELETE_ON_ERROR:

demo: setup
	@$(BIN)/python examples/demo.py

demo-once: setup
	@$(BIN)/python examples/demo.py --once

shots: setup
	@.ci/setup debian chromium-headless-shell libatomic1
	PYTHONPATH=examples $(BIN)/python examples/shots.py

# libatomic1 is for the Node.js in Playwright; curl and php-cli run the examples of docs/api.md, php-curl,
# php-mbstring and php-xml the modules in examples/, haproxy and nginx the samples of deploy/; the stores
# run on real PostgreSQL and Redis servers. One process more than cores: some tests wait.
test: setup .venv/mitmproxy/.done
	@.ci/setup debian chromium chromium-headless-shell libatomic1 curl haproxy iproute2 locales nginx \
		pgbouncer php-cli php-curl php-mbstring php-xml postgresql redis-server
	$(BIN)/pytest --numprocesses $$(($$(nproc) + 1)) --dist worksteal $(ARGS)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p clew

bench: setup .venv/mitmproxy/.done
	@.ci/setup debian nginx wrk util-linux postgresql redis-server
	PYTHONPATH=tests/support:examples $(BIN)/python bench/run.py $(if $(NAME),--name $(NAME)) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: .venv/.fuzz
	$(BIN)/python tests/fuzz/run.py $(if $(TARGET),--target $(TARGET)) $(if $(SECONDS),--seconds $(SECONDS))

soak: setup
	PYTHONPATH=tests/support:examples $(BIN)/python -m soak.run $(if $(REQUESTS),--requests $(REQUESTS)) \
		$(if $(CONCURRENCY),--concurrency $(CONCURRENCY)) $(if $(SEED),--seed $(SEED))

crash: setup
	@.ci/setup debian iproute2 postgresql redis-server
	PYTHONPATH=tests/support:examples $(BIN)/python -m crash.run $(if $(SEED),--seed $(SEED)) $(ARGS)

networks: setup
	PYTHONPATH=tests/support $(BIN)/python -m networks_table

facts: setup
	PYTHONPATH=tests/support $(BIN)/python -m facts_table

roles: setup
	PYTHONPATH=tests/support $(BIN)/python -m roles_table

scripts: setup
	PYTHONPATH=tests/support $(BIN)/python -m built_scripts

setup: .venv/.done

# Stamp files: made again only if their prerequisites have changed.
.venv/.done: requirements-dev.txt pyproject.toml .ci/setup
	@.ci/setup python
	@touch $@

.venv/.fuzz: tests/fuzz/requirements.txt .venv/.done
	@.ci/setup fuzz
	@touch $@

.venv/mitmproxy/.done: requirements-mitmproxy.txt .venv/.done
	@.ci/setup mitmproxy
	@touch $@

PIN = $(BIN)/uv pip compile --python-version 3.11 --python-platform linux --no-header --no-annotate --quiet

pins: setup
	$(PIN) --upgrade --override .ci/dev-overrides.txt --extra dev --output-file requirements-dev.txt pyproject.toml
	echo mitmproxy | $(PIN) --upgrade --override .ci/mitmproxy-overrides.txt \
		--output-file requirements-mitmproxy.txt pyproject.toml -
