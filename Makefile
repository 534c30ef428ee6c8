# Each target sets up what it needs by itself; see .ci/setup.
#
#   make demo         a shop, clew in front of it and a partner's server: open the printed addresses
#   make demo-once    one visitor driven through by itself; exits 0 only if the partner got what it should
#   make test         the whole test suite; ARGS="-k cookie" for a part
#   make check        ruff, ruff format, mypy
#   make bench        measured beside its peers; NAME=proxy for one, SEED=1 to repeat; for a part, not
#                     written down: ARGS="--only html100k --servers clew,nginx"
#   make fuzz         what must hold for any bytes, under a coverage-guided fuzzer; TARGET=wire for one,
#                     SECONDS=600 in all
#   make soak         clew serve, then the middleware, in front of a shop full of faults; REQUESTS=200000
#                     CONCURRENCY=200 SEED=1
#   make pins         renews requirements-dev.txt and requirements-mitmproxy.txt from pyproject.toml

BIN = .venv/bin

.PHONY: demo demo-once test check bench fuzz soak setup pins
.DELETE_ON_ERROR:

demo: setup
	@$(BIN)/python examples/demo.py

demo-once: setup
	@$(BIN)/python examples/demo.py --once

# libatomic1 is for the Node.js that Playwright brings along; curl and php-cli run the examples of docs/api.md,
# nginx the sample of deploy/.
test: setup .venv/mitmproxy/.done
	@.ci/setup debian chromium libatomic1 curl nginx php-cli
	$(BIN)/pytest --numprocesses logical --dist worksteal $(ARGS)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p clew

bench: setup .venv/mitmproxy/.done
	@.ci/setup debian nginx wrk util-linux
	$(BIN)/python bench/run.py $(if $(NAME),--name $(NAME)) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: .venv/.fuzz
	$(BIN)/python tests/fuzz/run.py $(if $(TARGET),--target $(TARGET)) $(if $(SECONDS),--seconds $(SECONDS))

soak: setup
	PYTHONPATH=tests/support:examples $(BIN)/python -m soak.run $(if $(REQUESTS),--requests $(REQUESTS)) \
		$(if $(CONCURRENCY),--concurrency $(CONCURRENCY)) $(if $(SEED),--seed $(SEED))

setup: .venv/.done

# The names are marks: made again only when what they depend on has changed.
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
	$(PIN) --upgrade --extra dev --output-file requirements-dev.txt pyproject.toml
	echo mitmproxy | $(PIN) --upgrade --override .ci/mitmproxy-overrides.txt \
		--output-file requirements-mitmproxy.txt pyproject.toml -
