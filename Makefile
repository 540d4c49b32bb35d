# siskin: `make run` tries it, `make test` proves it.

.PHONY: help run test lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: ## build, start, and print where to go with a token to try it
	@bash tests/try.sh

test: ## install what the tests need, run all of them
	@bash tests/install.sh
	@bash tests/run.sh

lint: ## formatting and clippy
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

clean: ## remove what was built
	cargo clean
	rm -rf dist tests/.venv tests/node_modules
