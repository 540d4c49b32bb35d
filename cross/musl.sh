#!/usr/bin/env bash
# musl.sh TARGET FOLDER: builds musl's library and start files from Debian's source into FOLDER, with clang, for targets for which
# nobody has them ready: Debian's own for armhf are ARMv7's, and rustup isn't always to be had.
# Installs nothing: apt works with lists of its own, and checks Debian's signatures as ever.
set -euo pipefail
target=${1:?usage: cross/musl.sh TARGET FOLDER} folder=${2:?usage: cross/musl.sh TARGET FOLDER}
case $target in
arm-unknown-linux-musleabihf) compiler="--target=arm-linux-musleabihf -mcpu=arm1176jzf-s -mfpu=vfp2 -mfloat-abi=hard" ;;
riscv64gc-unknown-linux-musl) compiler="--target=riscv64-linux-musl -march=rv64gc -mabi=lp64d" ;;
*) echo "musl.sh: not for $target" >&2 && exit 2 ;;
esac
command -v clang >/dev/null || { echo "musl.sh: a C compiler is needed: apt-get install clang" >&2 && exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/sources" "$work/build"
: >"$work/status"
# Where this machine's packages come from, their sources are, too.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ ! -e "$list" ] || sed 's/^Types:.*/Types: deb-src/; s/^deb /deb-src /' "$list" >"$work/sources/${list##*/}"
done
[ ! -e "$work/sources/sources.list" ] || mv "$work/sources/sources.list" "$work/sources/own.list"
options=(
    -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/sources"
    -o APT::Sandbox::User=root -o Acquire::Languages=none
)
apt-get -qq "${options[@]}" update || true
(cd "$work" && apt-get -qq "${options[@]}" source --download-only musl && tar -xzf musl_*.orig.tar.gz)
cd "$work/build"
{
    CC="clang $compiler" AR=ar RANLIB=ranlib "$work"/musl-*/configure --host="${target%%-*}-linux-musl" --disable-shared
    make -j"$(nproc)" lib/libc.a lib/crt1.o lib/crti.o lib/crtn.o
} >"$work/log" 2>&1 || { tail -20 "$work/log" >&2 && exit 1; }
# Whole or not at all.
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
mv lib "$folder"
