#!/usr/bin/env bash
# Installs the real Open WebUI, without its models, into an environment of its own. Quick when it is there.
set -euo pipefail
cd "$(dirname "$0")"

version=0.12.4
[ "$(cat .venv/stamp 2>/dev/null || true)" != "$version" ] || exit 0

rm -rf .venv
python3 -m venv .venv
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/pip download -q --no-deps -d "$folder" "open-webui==$version"
# The requirements of its small image: no torch, no vector database.
python3 -m zipfile -e "$folder"/open_webui-*.whl "$folder/wheel"
.venv/bin/pip install -q -r "$folder/wheel/requirements-slim.txt"
.venv/bin/pip install -q --no-deps "$folder"/open_webui-*.whl
echo "$version" >.venv/stamp
