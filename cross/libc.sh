#!/usr/bin/env bash
# libc.sh TARGET: prints the folder of the musl that build.sh links for this target.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
case ${1:?usage: cross/libc.sh TARGET} in
armv7-*) echo "$root/target/cross/musl-armhf/usr/lib/arm-linux-musleabihf" ;;
arm-* | riscv64gc-*) echo "$root/target/cross/musl-${1%%-*}" ;;
*) echo "$(rustc --print sysroot)/lib/rustlib/$1/lib/self-contained" ;;
esac
