#!/usr/bin/env bash
# What `make bench` compares with: python-socketio on uvicorn, node's socket.io with bufferutil, socketioxide on axum.
set -euo pipefail
cd "$(dirname "$0")/peers"
if [ ! -x .venv/bin/uvicorn ]; then
  python3 -m venv .venv
  .venv/bin/pip install -q -r requirements.txt
fi
[ -d node_modules/socket.io ] || npm ci --silent
cargo build -q --release --manifest-path socketioxide/Cargo.toml
# The floor of an echo.
mkdir -p ../../../target
cc -O2 -Wall -Wextra -o ../../../target/bench-echo ../echo.c
