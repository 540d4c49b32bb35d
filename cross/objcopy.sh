#!/usr/bin/env bash
# objcopy.sh ARGUMENTS: the objcopy that comes with Rust, which knows every target's binaries.
set -euo pipefail
sysroot=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
LD_LIBRARY_PATH=$sysroot/lib exec "$sysroot/lib/rustlib/$host/bin/rust-objcopy" "$@"
