# siskin: `make run` tries it, `make test` proves it.

.PHONY: help run test crash bench size dist lint vendor clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: ## build, start, and print where to go with a token to try it
	@bash tests/try.sh

test: ## install what the tests need, run all of them; ONLY="rust abuse" runs these parts
	@bash tests/install.sh
	@ONLY="$(ONLY)" bash tests/run.sh

crash: ## kill it 2,000 times under load
	@bash tests/install.sh
	cargo build -q --locked --bin siskin
	SISKIN_KILLS=2000 tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests -s tests/crash/test_kill.py

bench: ## measure beside python-socketio, node's socket.io and socketioxide
	@bash tests/install.sh
	@bash tests/bench/install.sh
	cargo build --release --locked --example bare
	SISKIN_BIN=$$(bash cross/build.sh $$(uname -m)-unknown-linux-musl) && export SISKIN_BIN && \
	tests/.venv/bin/python tests/bench/bench.py && \
	tests/.venv/bin/python tests/bench/documents.py && \
	tests/.venv/bin/python tests/bench/over_redis.py
	tests/.venv/bin/python tests/bench/store.py

size: ## build the static x86-64 binary and print its bytes
	@stat -c '%s bytes  %n' "$$(bash cross/build.sh x86_64-unknown-linux-musl)"

dist: ## everything of a release, for three architectures, in dist/
	@bash cross/dist.sh

lint: ## formatting and clippy
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

vendor: ## fetch the libraries of the console and the client module from npm
	@bash src/console/vendor.sh

clean: ## remove what was built
	cargo clean
	rm -rf dist tests/.venv tests/node_modules
