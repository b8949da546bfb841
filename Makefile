# Developers' commands; `make help` lists them.
PYTHON ?= python
STUBS ?= clients/python
PROTOS = $(wildcard proto/turnout/v1/*.proto)

.PHONY: help stubs baseline build debug clean lint types test load generator litellm

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# The generators have a place of their own: stubs are made with the oldest runtime that the package supports.
build/stubs/bin/python: proto/requirements.txt
	$(PYTHON) -m venv build/stubs
	build/stubs/bin/python -m pip install -q -r proto/requirements.txt
	touch $@

stubs: build/stubs/bin/python ## regenerate the Python stubs from proto/
	mkdir -p $(STUBS)
	PATH=$(CURDIR)/build/stubs/bin:$$PATH build/stubs/bin/python -m grpc_tools.protoc -Iproto --python_out=$(STUBS) --mypy_out=$(STUBS) --grpc_python_out=$(STUBS) --mypy_grpc_out=$(STUBS) $(PROTOS)

baseline: ## accept the present contract as the one that later ones must not break
	buf build -o proto/baseline.binpb

build: ## compile the core in place
	$(PYTHON) setup.py -q build_ext --inplace

debug: ## compile the core with every check on, in place
	TURNOUT_DEBUG=1 $(PYTHON) setup.py -q build_ext --inplace --force

clean: ## remove the compiled core
	rm -rf build/lib.* build/temp.*
	rm -f fastpath/turnout_fastpath/*.so server/turnout_server/doors/*/*.so

lint: ## format and lint checks
	ruff format --check . && ruff check .

types: ## static types
	mypy clients/python/turnout server fastpath tests bench

test: ## the tests
	$(PYTHON) -m pytest

load: ## build the load generator and the compiled arms of the load tests
	$(MAKE) -C bench/load/arms

generator: ## build the load generator alone
	$(MAKE) -C bench/load/arms ../../../build/load/generator

# A place of its own: the proxy pins versions that the project does not.
build/litellm/bin/litellm:
	$(PYTHON) -m venv build/litellm
	build/litellm/bin/python -m pip install -q 'litellm[proxy]>=1.80'

litellm: build/litellm/bin/litellm ## test the providers against LiteLLM's own proxy
	TURNOUT_LITELLM=build/litellm/bin/litellm $(PYTHON) -m pytest -m litellm
