#!/usr/bin/env bash
# allocators.sh: static binaries with musl's own allocator (what a release has), two in Rust alone (dlmalloc, and rlsf, a TLSF) and
# mimalloc beside each other: bytes, speed, memory after 10,000 websockets. Builds patched copies of the project for this machine
# in a temporary folder; the project stays as it is. mimalloc is C: musl-gcc (Debian's musl-tools) is installed for it.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(uname -m)-unknown-linux-musl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { echo "allocators.sh: $*" >&2; }

if ! command -v musl-gcc >/dev/null; then
    say "installing musl-tools"
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends musl-tools >/dev/null
fi

mkdir "$work/siskin"
git ls-files -z | xargs -0 cp --parents -t "$work/siskin"
cp "$work/siskin/src/main.rs" "$work/siskin/Cargo.toml" "$work/siskin/Cargo.lock" "$work"
# What another allocator needs is not in the lock file.
sed -i 's/ --locked//' "$work/siskin/cross/build.sh"

# build NAME [CRATE ALLOCATOR]: with this line of Cargo.toml and this static in main.rs.
builds=()
build() {
    say "building with $1"
    cp "$work/main.rs" "$work/siskin/src/"
    cp "$work/Cargo.toml" "$work/Cargo.lock" "$work/siskin/"
    if [ $# -gt 1 ]; then
        sed -i "s|^\\[dependencies\\]|&\\n$2|" "$work/siskin/Cargo.toml"
        printf '\n#[global_allocator]\nstatic ALLOCATOR: %s;\n' "$3" >>"$work/siskin/src/main.rs"
    fi
    env -u CARGO_TARGET_DIR bash "$work/siskin/cross/build.sh" "$target" --bin siskin 2>"$work/log" >/dev/null || { cat "$work/log" >&2 && exit 1; }
    cp "$work/siskin/target/$target/siskin" "$work/$1"
    builds+=("$1=$work/$1")
}

export "CC_${target//-/_}=musl-gcc"
# Else mimalloc wants gcc's own library, which isn't linked.
[[ $target != x86_64-* ]] || export "CFLAGS_${target//-/_}=-mpopcnt"
build musl
build dlmalloc 'dlmalloc = { version = "0.2", features = ["global"] }' 'dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc'
build rlsf 'rlsf = "0.2"' 'rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new()'
build mimalloc 'mimalloc = { version = "0.1", default-features = false }' 'mimalloc::MiMalloc = mimalloc::MiMalloc'

BENCH_TARGET="$work" tests/.venv/bin/python tests/bench/variants.py "${builds[@]}"
