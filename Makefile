# siskin: `make run` tries it, `make test` proves it.

.PHONY: help run quick test test-versions test-arm pi crash moments fuzz soak bench allocators size size-keep dist dist-check lint vendor shots clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: ## build, start, and print where to go with a token to try it
	@bash tests/try.sh

quick: ## format, clippy, unit tests, layout, protocol and contract in a minute or so; installs no more than that needs
	@bash tests/install.sh quick
	@python3 tests/run.py quick

test: ## install what the tests need, run all of them; ONLY="rust abuse" runs these parts, JOBS=2 so many at a time
	@bash tests/install.sh
	@JOBS="$(JOBS)" python3 tests/run.py $(ONLY)

test-versions: ## siskin beside each version of Open WebUI that it knows, the oldest included; VERSIONS="0.8.12 0.10.2" plays these
	@bash tests/install.sh
	@bash tests/openwebui/install.sh $(or $(VERSIONS),all)
	cargo build -q --locked --bin siskin
	@VERSIONS="$(or $(VERSIONS),all)" tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests tests/openwebui/test_versions.py

crash: ## kill it 2,000 times under load
	@bash tests/install.sh
	cargo build -q --locked --bin siskin
	SISKIN_KILLS=2000 tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests -s tests/crash/test_kill.py

moments: ## pages of the real Open WebUI that lose their connection at MOMENTS=50 moments of an answer, also by a restart, and behind nginx
	@bash tests/install.sh
	@bash tests/openwebui/install.sh
	cargo build -q --locked --bin siskin
	SISKIN_MOMENTS=$(or $(MOMENTS),50) node --test tests/openwebui/recovery.test.mjs

fuzz: ## input guided by coverage and the random tests with new seeds, for SECONDS=600; SEED=1 repeats the one that failed; OPERATIONS=1000000 plays the documents' model alone, for hours
	@bash tests/install.sh
	@bash tests/fuzz.sh "$(or $(SECONDS),600)" "$(SEED)" "$(OPERATIONS)"

soak: ## 10,000 websockets, a storm of reconnects, and a million connections that come and go; CONNECTIONS=100000 for fewer
	@bash tests/install.sh
	tests/.venv/bin/python tests/soak.py $(CONNECTIONS)

bench: ## measure beside python-socketio, node's socket.io and socketioxide
	@bash tests/install.sh
	@bash tests/bench/install.sh
	cargo build --release --locked --example bare
	SISKIN_BIN=$$(bash cross/build.sh $$(uname -m)-unknown-linux-musl) && export SISKIN_BIN && \
	tests/.venv/bin/python tests/bench/bench.py && \
	tests/.venv/bin/python tests/bench/documents.py && \
	tests/.venv/bin/python tests/bench/over_redis.py && \
	tests/.venv/bin/python tests/bench/store.py && \
	tests/.venv/bin/python tests/bench/keystrokes.py

allocators: ## compare musl's allocator with others: bytes, speed, memory after 10,000 websockets
	@bash tests/install.sh
	@bash cross/allocators.sh

size: ## bytes of the five static binaries, what each crate adds, memory at rest and for each connection; FEATURES=1: what some features take; VARIANTS=1: bytes with TLS, without Redis, without the console
	@python3 cross/size.py $(if $(VARIANTS),--variants) $(if $(FEATURES),--features)
	@$(if $(VARIANTS)$(FEATURES),,python3 cross/memory.py target/x86_64-unknown-linux-musl/siskin)

size-keep: ## the same bytes become those that the tests compare with
	@python3 cross/size.py --keep

dist: ## everything of a release, for five architectures, in dist/
	@bash cross/dist.sh

dist-check: ## test the release, each target built a second time in another folder
	@bash tests/install.sh
	@for target in aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf x86_64-unknown-linux-musl arm-unknown-linux-musleabihf riscv64gc-unknown-linux-musl; do \
	  SISKIN_DIST_TARGET=$$target tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests tests/dist -k "same_source" || exit 1; done
	@SISKIN_TARGETS=all tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests tests/dist tests/systemd tests/init -k "not same_source"

test-arm: ## all conformance and client tests, the store, Redis and more with the binaries for ARM and RISC-V under qemu
	@bash tests/install.sh
	@SISKIN_ARM=full SISKIN_TARGETS=all tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests tests/arm

pi: ## boot an emulated Raspberry Pi, as root, and have siskin live on it: README's commands, figures, upgrade, its plug pulled, 512 MB; about an hour
	@bash tests/install.sh
	@bash tests/pi/image.sh target/pi
	@TARGETS=aarch64-unknown-linux-musl bash cross/dist.sh target/pi/release
	@RELEASE=$(CURDIR)/target/pi/release node --test --test-reporter=spec --test-concurrency=1 tests/pi/*.test.mjs

lint: ## formatting and clippy; where cargo-deny is installed, advisories, licences and sources of the crates (deny.toml)
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	if command -v cargo-deny >/dev/null; then cargo deny --locked check; else echo "cargo-deny is not installed: advisories were not looked at"; fi

vendor: ## fetch the libraries of the console and the client module from npm
	@bash src/console/vendor.sh

shots: ## take README's pictures of the page, four minutes of a running siskin
	@bash tests/install.sh
	@bash tests/browser/shots.sh

clean: ## remove what was built
	cargo clean
	rm -rf dist tests/.venv tests/node_modules
