#!/usr/bin/env bash
# dist.sh [FOLDER]: everything of a release, in FOLDER (else dist/, which is emptied): an archive, an OCI image and the symbols for each
# target, a .deb for each of Debian's architectures, the SBOMs, SHA256SUMS, install.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# TARGETS names fewer targets than all; BUILT=yes takes the binaries that build.sh made before.
targets=(${TARGETS:-aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf arm-unknown-linux-musleabihf
    x86_64-unknown-linux-musl riscv64gc-unknown-linux-musl})
# The armhf package then holds it, too.
case " ${targets[*]} " in *" arm-"*) export ARMV6=yes ;; esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}"
export SOURCE_DATE_EPOCH

[ $# -gt 0 ] || rm -rf dist
mkdir -p "${1:-dist}"
out=$(cd "${1:-dist}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

for target in "${targets[@]}"; do
    [ -n "${BUILT:-}" ] || bash cross/build.sh "$target" >/dev/null
done
for target in "${targets[@]}"; do
    name=siskin-$version-$target
    folder=$work/$name
    binary=target/$target/siskin
    run=$(bash cross/runner.sh "$target")
    mkdir -p "$folder/completions"
    install -m755 "$binary" "$folder/siskin"
    install -m755 cross/install.sh "$folder/install.sh"
    install -m644 cross/siskin.service cross/siskin.socket LICENSE "$folder/"
    cp -r cross/init "$folder/"
    $run "$binary" man >"$folder/siskin.1"
    $run "$binary" env >"$folder/siskin.env"
    for shell in bash zsh fish; do
        $run "$binary" completions "$shell" >"$folder/completions/siskin.$shell"
    done
    python3 cross/sbom.py "$target" >"$out/$name.cdx.json"
    python3 cross/sbom.py --notices "$target" >"$folder/third-party.txt"
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=ustar -c "$name" |
        gzip -9n >"$out/$name.tar.gz"
    case $target in
    arm-*) architecture=armv6 ;;
    *) package=$(bash cross/deb.sh "$target" "$out") && architecture=${package##*_} ;;
    esac
    python3 cross/image.py "$out/siskin-$version-oci-${architecture%.deb}.tar" "$target"
    # The names of its functions, for whoever has an address of a crash or a profile.
    bash cross/objcopy.sh --only-keep-debug "target/$target/release/siskin" "$out/$name.debug"
    chmod 644 "$out/$name.debug"
done

python3 cross/image.py "$out/siskin-$version-oci.tar" "${targets[@]}"

# Home Assistant's add-on, with the archives of the architectures that it knows.
addon=$work/addon/siskin
mkdir -p "$addon"
cp cross/home-assistant/* LICENSE "$addon/"
for target in "${targets[@]}"; do
    case $target in riscv64gc-*) ;; *) cp "$out/siskin-$version-$target.tar.gz" "$addon/" ;; esac
done
tar -C "$work/addon" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=ustar -c siskin |
    gzip -9n >"$out/siskin-$version-home-assistant.tar.gz"
install -m755 cross/install.sh "$out/install.sh"
# One that was there before is no part of it.
rm -f "$out/SHA256SUMS"
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
ls -l "$out" >&2
