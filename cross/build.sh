#!/usr/bin/env bash
# build.sh TARGET [cargo's arguments]: builds siskin as one static, stripped, reproducible binary; prints its path.
# The same with its symbols, for a profiler or a debugger, is target/TARGET/release/siskin.
#
# Targets: aarch64-unknown-linux-musl (64-bit ARM), armv7-unknown-linux-musleabihf (32-bit ARM from the Pi 2 on), x86_64-unknown-linux-musl,
# arm-unknown-linux-musleabihf (ARMv6: Pi 1, Zero, Zero W), riscv64gc-unknown-linux-musl.
# Needs Debian with rustup, gcc for build scripts and, for 32-bit ARM and RISC-V, apt-get; fetches the rest by itself. For ARMv6, RISC-V
# and with `--features tls`, which brings C and assembly, also the package clang: one compiler for all targets.
# With another tool than this, `cross build --release --target TARGET` or `rustup target add TARGET` and cargo give a working, but larger,
# binary, which on 32-bit ARM ends in 2038 (see below).
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
arm-unknown-linux-musleabihf | riscv64gc-unknown-linux-musl) ;;
*)
    echo "build.sh: unknown target $target" >&2
    exit 2
    ;;
esac

# In messages on standard error: standard output is the binary's path.
say() { echo "build.sh: $*" >&2; }

# TLS takes its cryptography from ring, whose C includes no header but the compiler's own: clang needs no C library of the target.
case " $* " in
*[\ =,]tls[\ ,]* | *" --all-features "*)
    command -v clang >/dev/null || { say "TLS needs a C compiler: apt-get install clang" && exit 1; }
    c_flags="-nostdlibinc -DRING_CORE_NOSTDLIBINC=1 -ffreestanding -fno-asynchronous-unwind-tables"
    # Thumb, as for Rust's code (see below).
    [ "$target" != armv7-unknown-linux-musleabihf ] || c_flags+=" -mthumb"
    export "CC_${target//-/_}=clang" "AR_${target//-/_}=ar" "CFLAGS_${target//-/_}=$c_flags"
    ;;
esac

sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}

have_source() { [ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ]; }
have_source || { say "installing the standard library's source" && rustup component add rust-src >&2; }

# musl's C library and start files: rustup's folders for a target hold them for two, Debian has them for ARMv7, ARMv6's and RISC-V's are built.
flags=()
libc=$(bash cross/libc.sh "$target")
case $target in
aarch64-* | x86_64-*)
    [ -f "$libc/libc.a" ] || rustup target add "$target" >&2
    ;;
*)
    if [ ! -f "$libc/libc.a" ]; then
        say "fetching musl for $target from Debian"
        case $target in
        armv7-*) bash cross/fetch-deb.sh musl-dev armhf "$root/target/cross/musl-armhf" >&2 ;;
        *) bash cross/musl.sh "$target" "$libc" >&2 ;;
        esac
    fi
    # What gcc would add for C++ and unwinding: empty here, since nothing unwinds.
    stubs=$root/target/cross/stubs-${target%%-*}
    if [ ! -f "$stubs/libunwind.a" ]; then
        mkdir -p "$stubs"
        for object in crtbegin crtend crtbeginS crtendS; do
            printf '#![feature(no_core)]\n#![no_core]\n' |
                RUSTC_BOOTSTRAP=1 rustc --target "$target" --cap-lints allow --crate-type lib --crate-name "$object" --emit obj -o "$stubs/$object.o" -
        done
        printf '!<arch>\n' >"$stubs/libunwind.a"
    fi
    flags+=(-Lnative="$libc" -Lnative="$stubs")
    ;;
esac
case $target in
arm-*)
    # The processor of every ARMv6 that runs Linux today. It has Thumb's first kind alone, which is slow: ARM's own instructions.
    flags+=(-Ctarget-cpu=arm1176jzf-s)
    ;;
armv7-*)
    # Thumb: the same instructions in half the bytes, mostly; every ARMv7 knows them.
    # -d32: the target leaves NEON out, but its registers d16 to d31 in, which an ARMv7 without NEON doesn't have.
    flags+=(-Ctarget-feature=+thumb-mode,-d32)
    ;;
riscv64gc-*)
    # Static here too: the target's own default is a C library that is shared.
    flags+=(-Ctarget-feature=+crt-static)
    ;;
esac
case $target in
arm*)
    # The standard library reads the clock in 32 bits on 32-bit musl, and panics from 2038-01-19 on. It has the 64-bit way
    # for glibc, under a name that musl has too: build a copy of it that takes that way. tests/arm runs the binary in 2039.
    # Not below this folder: where a library lies counts in its crates' hashes, and the bytes shall be the same in every folder.
    library=$cargo_home/siskin/library-$(rustc --version | cut -d' ' -f2)/library
    if [ ! -d "$library" ]; then
        rm -rf "$(dirname "$library").$$"
        mkdir -p "$(dirname "$library").$$"
        cp -r "$sysroot/lib/rustlib/src/rust/library" "$(dirname "$library").$$/library"
        sed -i 's/^\( *\)target_env = "gnu",$/\1any(target_env = "gnu", target_env = "musl"),/' \
            "$(dirname "$library").$$/library/std/src/sys/pal/unix/time.rs"
        mv -T "$(dirname "$library").$$" "$(dirname "$library")" || [ -d "$library" ]
    fi
    # cargo's own name for "take the library's source from here"; were it not heeded, the test would say so.
    export __CARGO_TESTS_ONLY_SRC_ROOT=$library
    ;;
esac

flags+=(
    # The linker that rustup brings, called twice for the sake of memory.
    -Clinker="$root/cross/link.sh" -Clinker-flavor=ld.lld -Clink-self-contained=yes
    # A fixed address: saves the table of relocations; the stack and the heap still move.
    -Crelocation-model=static
    # Nothing unwinds (panic = "abort") and no backtrace is printed: no tables for them, a tenth of the binary.
    -Cforce-unwind-tables=no
    # One copy of functions whose code is the same.
    -Clink-arg=--icf=all
    # What is about as short as a call is put into its caller: 21 KB for 7 % of the instructions of an echo and of a join.
    -Cllvm-args=-inline-threshold=15
    # SHA-256 as a loop, 7 KB: a token is a few blocks.
    '--cfg=sha2_backend_soft="compact"'
    # musl has its printf here for the names of threads, 12 KB, and asks it only for a thread that names another: none does (tests/dist looks).
    -Clink-arg=--defsym=snprintf=abort
    # The same bytes in every folder.
    --remap-path-prefix="$root=/siskin"
    --remap-path-prefix="$sysroot/lib/rustlib/src/rust=/rust"
    ${library:+--remap-path-prefix="$(dirname "$library")=/rust"}
)

# A function is made of what several functions have in common: 3 to 4 %; and once more of what those have in common, 6 KB. With
# this second round such functions forget where to return to on 32-bit ARM (Rust 1.95, LLVM 22); in Thumb not with the first alone,
# in ARM's own instructions, on ARMv6, with that, too.
[[ $target = arm-* ]] || flags+=(-Cllvm-args=--enable-machine-outliner=always)
[[ $target = arm* ]] || flags+=(-Cllvm-args=--machine-outliner-reruns=1)

# And one of functions that are the same but for constants, 9 KB. Not on RISC-V: with that and the order below, 60 KB together, siskin
# ended when it told of a Redis that was away (Rust 1.95, LLVM 22); with either alone it did not, but which one is wrong is not known.
[[ $target = riscv64gc-* ]] || flags+=(-Cllvm-args=--enable-global-merge-func)

# On ARM instructions stay in the order in which they were written, so that more of them are the same: 84 KB on ARM's 64 bits,
# 70 KB with the line above on 32.
[[ $target != @(aarch64|arm)* ]] || flags+=(-Cllvm-args=--enable-misched=false -Cllvm-args=--enable-post-misched=false)

# And functions that all have in common save and bring back the registers: another 44 KB. With both an echo
# takes as many instructions as before.
[[ $target != aarch64-* ]] || flags+=(-Cllvm-args=--homogeneous-prolog-epilog)

# What is longer than one register is copied by calling memcpy: 35 KB on ARM's 64 bits, nothing on 32, 80 KB on x86-64, where an echo, a
# broadcast and a streamed event take as long as before (tests/bench/variants.py).
[[ $target != @(aarch64|x86_64)* ]] || flags+=(-Cllvm-args=-max-store-memcpy=1)

# Constants are made where they are used, not kept in a register from before a loop on: 7 KB on ARM's 64 bits, 14 on 32, 17 on x86-64, in no
# less time. Not on RISC-V, whose tests have not run with both.
[[ $target = riscv64gc-* ]] || flags+=(-Cllvm-args=-disable-machine-licm)

# The crates, too; and a panic names a crate's file without the registry's name, 8 KB.
cargo fetch --locked --quiet --target "$target" >&2
for registry in "$cargo_home"/registry/src/*; do
    flags+=(--remap-path-prefix="$registry=/crates")
done

# x86-64's jump tables have 8 bytes an entry: comparing is shorter, 1 % in all. And what lies on the stack is addressed from its frame: a byte
# less each time, and then it can be in a function of what several have in common; another 1 %.
[ "$target" != x86_64-unknown-linux-musl ] || flags+=(-Cllvm-args=-min-jump-table-entries=100000 -Cforce-frame-pointers=yes)

# Everything is built for the fewest bytes ("z"), but the standard library with "s": as "z" it keeps code for a backtrace that is
# never printed, and with it the library that unwinds the stack, 50 KB.
# A panic names its file, without the line: 30 KB for the crates' and 49 KB for ours, whose files are short and whose panics say what is wrong.
RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_STRIP=none CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}") \
    cargo build --release --locked --target "$target" --config 'profile.release.package.std.opt-level="s"' \
    -Zprofile-rustflags --config 'profile.release.rustflags=["-Zlocation-detail=file"]' \
    -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size "$@" >&2

built=${CARGO_TARGET_DIR:-$root/target}/$target
bash cross/objcopy.sh --strip-all "$built/release/siskin" "$built/siskin"
echo "$built/siskin"
