#!/usr/bin/env bash
# fetch-deb.sh "PACKAGE..." ARCHITECTURE FOLDER [SUITE]: unpacks Debian packages, of another architecture or release for instance, into a folder.
# Installs nothing and changes nothing on this machine: apt works with lists of its own, and checks Debian's signatures as ever.
set -euo pipefail
packages=${1:?} architecture=${2:?} folder=${3:?} suite=${4:-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
options=(
    -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
    -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none
)
# Where this machine's own release comes from, another one comes from, too.
if [ -n "$suite" ]; then
    mkdir "$work/sources"
    own=$(. /etc/os-release && echo "$VERSION_CODENAME")
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$list" ] || sed "s/\\b$own\\b/$suite/g" "$list" >"$work/sources/${list##*/}"
    done
    [ ! -e "$work/sources/sources.list" ] || mv "$work/sources/sources.list" "$work/sources/own.list"
    options+=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/sources")
fi
# A mirror in the middle of its own update may miss one list of several: what counts is whether the package is found.
apt-get -qq "${options[@]}" update || true
for package in $packages; do
    (cd "$work" && apt-get -qq "${options[@]}" download "$package:$architecture")
done
# Whole or not at all.
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/unpacked"
done
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
mv "$work/unpacked" "$folder"
