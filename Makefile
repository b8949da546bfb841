# Developers' commands; `make help` lists them.
PYTHON ?= python
STUBS ?= clients/python
PROTOS = $(wildcard proto/turnout/v1/*.proto)

.PHONY: help stubs clients-stubs baseline build debug address thread hostile h2spec clean lint types test load generator litellm http-descriptors

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# The generators have a place of their own: stubs are made with the oldest runtime that the package supports.
build/stubs/bin/python: proto/requirements.txt
	$(PYTHON) -m venv build/stubs
	build/stubs/bin/python -m pip install -q -r proto/requirements.txt
	touch $@

stubs: build/stubs/bin/python ## regenerate the Python stubs from proto/
	mkdir -p $(STUBS)
	PATH=$(CURDIR)/build/stubs/bin:$$PATH build/stubs/bin/python -m grpc_tools.protoc -Iproto --python_out=$(STUBS) --mypy_out=$(STUBS) --grpc_python_out=$(STUBS) --mypy_grpc_out=$(STUBS) $(PROTOS)

BUF = build/buf/node_modules/.bin/buf

build/buf/node_modules/.bin/buf:
	npm install --silent --no-fund --no-audit --no-save --prefix build/buf @bufbuild/buf@1.75.0

clients/typescript/node_modules: clients/typescript/package-lock.json
	npm ci --silent --no-fund --no-audit --prefix clients/typescript
	touch $@

clients-stubs: $(BUF) clients/typescript/node_modules ## regenerate the other clients' stubs and what they copy
	for template in clients/*/buf.gen.yaml; do $(BUF) generate --template $$template || exit; done
	for client in go rust typescript; do cp LICENSE clients/$$client || exit; done
	for client in go rust; do cp clients/service_config.json clients/$$client || exit; done
	{ echo '// A copy of clients/service_config.json, made by `make clients-stubs`: bundlers find no files.'; \
	  printf 'export const SERVICE_CONFIG = '; cat clients/service_config.json; \
	} > clients/typescript/src/generated/service_config.ts

http-descriptors: ## write the descriptor set of the gRPC-JSON transcoder
	PYTHONPATH=$(STUBS) $(PYTHON) proto/http/describe.py proto/http/turnout.binpb

baseline: ## accept the present contract as the one that later ones must not break
	buf build -o proto/baseline.binpb

build: ## compile the core in place
	$(PYTHON) setup.py -q build_ext --inplace

debug: ## compile the core with every check on, in place
	TURNOUT_DEBUG=1 $(PYTHON) setup.py -q build_ext --inplace --force

# Sanitised builds have a tree of their own, so that the release build stays as it is.
build/%/tree: FORCE
	mkdir -p $@
	git ls-files -z | xargs -0 cp -u --parents -t $@
	cd $@ && TURNOUT_SANITISE=$* PYTHONPATH=fastpath:server $(PYTHON) setup.py -q build_ext --inplace

FORCE:

SANITISED_PATH = PYTHONMALLOC=malloc PYTHONPATH=fastpath:server:clients/python:.

# Freed memory is kept to find its later use, and what starts an interpreter of its own does not preload the sanitiser.
NOT_UNDER_ADDRESS = --ignore tests/fastpath/training --ignore tests/fastpath/test_engine_memory.py \
  --deselect tests/fastpath/test_request.py::test_none_in_the_place_of_an_object_does_not_crash

# CPython and grpc keep what they allocate until the process ends: leaks are not looked for.
address: build/address/tree ## test kernels and compiled doors under AddressSanitizer and UndefinedBehaviorSanitizer
	cd $< && $(SANITISED_PATH) ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	  $(PYTHON) -m pytest tests/server/decision_port tests/server/compiled tests/fastpath $(NOT_UNDER_ADDRESS)

build/thread/ring_race: tests/server/decision_port/ring_race.c server/turnout_server/doors/decision_port/ring.h
	mkdir -p build/thread
	$(CC) -O1 -g -fsanitize=thread -pthread -Iserver/turnout_server/doors/decision_port $< -o $@

thread: build/thread/ring_race build/thread/tree ## race the ring, attack the decision port with snapshots swapped, under ThreadSanitizer
	build/thread/ring_race 2000000
	cd build/thread/tree && $(SANITISED_PATH) TSAN_OPTIONS=suppressions=tests/server/decision_port/thread.supp \
	  LD_PRELOAD="$$(gcc -print-file-name=libtsan.so) $$(gcc -print-file-name=libstdc++.so)" \
	  $(PYTHON) -m tests.server.decision_port.hostile --seconds 20 --threads 4

hostile: ## ten minutes of hostile traffic against the decision port
	PYTHONPATH=fastpath:server:clients/python:. $(PYTHON) -m tests.server.decision_port.hostile --seconds 600

h2spec: ## hold the decision port to HTTP/2 with h2spec
	PYTHONPATH=fastpath:server:clients/python:. $(PYTHON) -m pytest -v tests/server/decision_port/test_h2spec.py

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
	build/litellm/bin/python -m pip install -q 'litellm[proxy]>=1.80' 'googleapis-common-protos>=1.66,<2' \
	  'grpcio>=1.78,<2' 'grpcio-status>=1.78,<2' 'protobuf>=6.31.1,<8'

litellm: build/litellm/bin/litellm ## test the providers and the routing hook against LiteLLM's own proxy
	TURNOUT_LITELLM=build/litellm/bin/litellm $(PYTHON) -m pytest -m litellm
