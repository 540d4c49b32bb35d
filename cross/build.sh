#!/usr/bin/env bash
# build.sh TARGET [cargo's arguments]: builds siskin as one static, stripped, reproducible binary; prints its path.
#
# Targets: aarch64-unknown-linux-musl (64-bit ARM), armv7-unknown-linux-musleabihf (32-bit ARM from the Pi 2 on), x86_64-unknown-linux-musl.
# Needs Debian with rustup, gcc for build scripts and, for armv7, apt-get; fetches the rest by itself.
# With another tool than this, `cross build --release --target TARGET` or `rustup target add TARGET` and cargo give a working, but larger, binary.
#
# Why the standard library is built too: so it is optimised for size together with our code, and leaves out its reader of
# debug information (for backtraces, which a stripped binary can't show). A panic still says what happened and where, as one line of the log.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

target=${1:?usage: cross/build.sh TARGET [cargo arguments]}
shift
case $target in
aarch64-unknown-linux-musl | armv7-unknown-linux-musleabihf | x86_64-unknown-linux-musl) ;;
*)
    echo "build.sh: unknown target $target" >&2
    exit 2
    ;;
esac

# In messages on standard error: standard output is the binary's path.
say() { echo "build.sh: $*" >&2; }

sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}

have_source() { [ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ]; }
have_source || { say "installing the standard library's source" && rustup component add rust-src >&2; }

# musl's C library and start files. rustup's folders for a target hold them for two of the three targets.
flags=()
if [ "$target" != armv7-unknown-linux-musleabihf ]; then
    [ -f "$sysroot/lib/rustlib/$target/lib/self-contained/libc.a" ] || rustup target add "$target" >&2
else
    libc=$root/target/cross/musl-armhf
    if [ ! -f "$libc/usr/lib/arm-linux-musleabihf/libc.a" ]; then
        say "fetching musl for armhf from Debian"
        bash cross/fetch-deb.sh musl-dev armhf "$libc" >&2
    fi
    # What gcc would add for C++ and unwinding: empty here, since nothing unwinds.
    stubs=$root/target/cross/stubs-armv7
    if [ ! -f "$stubs/libunwind.a" ]; then
        mkdir -p "$stubs"
        for object in crtbegin crtend crtbeginS crtendS; do
            printf '#![feature(no_core)]\n#![no_core]\n' |
                RUSTC_BOOTSTRAP=1 rustc --target "$target" --crate-type lib --crate-name "$object" --emit obj -o "$stubs/$object.o" -
        done
        printf '!<arch>\n' >"$stubs/libunwind.a"
    fi
    flags+=(-Lnative="$libc/usr/lib/arm-linux-musleabihf" -Lnative="$stubs")
fi

flags+=(
    -Clinker=rust-lld -Clink-self-contained=yes
    # A fixed address: saves the table of relocations; the stack and the heap still move.
    -Crelocation-model=static
    # The same bytes in every folder.
    --remap-path-prefix="$root=/siskin"
    --remap-path-prefix="$cargo_home/registry/src=/crates"
    --remap-path-prefix="$sysroot/lib/rustlib/src/rust=/rust"
)

RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}") \
    cargo build --release --locked --target "$target" \
    -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size "$@" >&2

echo "${CARGO_TARGET_DIR:-$root/target}/$target/release/siskin"
