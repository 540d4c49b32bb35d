#!/usr/bin/env bash
# Installs what the tests need on a Debian machine: packages, a Python environment, Node modules.
# Quick when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")"

packages=(e2fsprogs redis-server redis-sentinel nginx-light caddy chromium qemu-user-static qemu-user faketime binutils-arm-linux-gnueabihf clang systemd iproute2 lintian skopeo nodejs npm python3-venv curl wget openssl)
missing=()
for package in "${packages[@]}"; do
  case "$package" in
    nodejs) command -v node >/dev/null && continue ;;
    npm) command -v npm >/dev/null && continue ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && continue ;;
  esac
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo"
  $sudo apt-get update -qq
  # Debian starts the services it installs; the tests start their own.
  printf '#!/bin/sh\nexit 101\n' | $sudo tee /usr/sbin/policy-rc.d >/dev/null
  $sudo chmod +x /usr/sbin/policy-rc.d
  trap '$sudo rm -f /usr/sbin/policy-rc.d' EXIT
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

stamp=$(sha256sum requirements.txt | cut -d' ' -f1)
if [ "$(cat .venv/stamp 2>/dev/null || true)" != "$stamp" ]; then
  python3 -m venv .venv
  .venv/bin/pip install -q -r requirements.txt
  echo "$stamp" >.venv/stamp
fi

stamp=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ "$(cat node_modules/.stamp 2>/dev/null || true)" != "$stamp" ]; then
  npm ci --silent
  echo "$stamp" >node_modules/.stamp
fi

for more in */install.sh; do
  # What the benches compare with is `make bench`'s to install.
  [ ! -f "$more" ] || [ "$more" = bench/install.sh ] || bash "$more"
done
