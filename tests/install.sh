#!/usr/bin/env bash
# install.sh [quick]: installs what the tests need on a Debian machine: packages, a Python environment, Node modules.
# With `quick`, what `make quick` needs and nothing else. Quick when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")"
lane=${1:-all}

packages=(faketime nodejs npm python3-venv)
requirements=requirements-quick.txt
modules=(--omit=dev)
if [ "$lane" != quick ]; then
  packages+=(e2fsprogs redis-server redis-sentinel nginx-light caddy chromium qemu-user-static qemu-user binutils-arm-linux-gnueabihf clang systemd iproute2 lintian skopeo curl wget openssl)
  requirements=requirements.txt
  modules=()
fi

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

# stamped FOLDER FILE...: is the folder made of these files, for this lane or for all?
stamped() {
  local folder=$1
  shift
  stamp=$(cat "$@" | sha256sum | cut -d' ' -f1)
  case $(cat "$folder/stamp" 2>/dev/null || true) in "all $stamp" | "$lane $stamp") return 0 ;; *) return 1 ;; esac
}

if ! stamped .venv requirements-quick.txt requirements.txt; then
  python3 -m venv .venv
  .venv/bin/pip install -q -r "$requirements"
  echo "$lane $stamp" >.venv/stamp
fi

if ! stamped node_modules package-lock.json; then
  npm ci --silent "${modules[@]}"
  echo "$lane $stamp" >node_modules/stamp
fi

[ "$lane" != quick ] || exit 0
for more in */install.sh; do
  # What the benches compare with is `make bench`'s to install.
  [ ! -f "$more" ] || [ "$more" = bench/install.sh ] || bash "$more"
done
