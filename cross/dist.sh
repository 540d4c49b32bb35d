#!/usr/bin/env bash
# dist.sh [FOLDER]: everything of a release, in FOLDER (else dist/, which is emptied): an archive, a .deb and the symbols for each
# target, OCI images, the SBOMs, SHA256SUMS, install.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# TARGETS names fewer targets than all; BUILT=yes takes the binaries that build.sh made before.
targets=(${TARGETS:-aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf x86_64-unknown-linux-musl})
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
    package=$(bash cross/deb.sh "$target" "$out")
    architecture=${package##*_}
    python3 cross/image.py "$out/siskin-$version-oci-${architecture%.deb}.tar" "$target"
    # The names of its functions, for whoever has an address of a crash or a profile.
    bash cross/objcopy.sh --only-keep-debug "target/$target/release/siskin" "$out/$name.debug"
    chmod 644 "$out/$name.debug"
done

python3 cross/image.py "$out/siskin-$version-oci.tar" "${targets[@]}"
install -m755 cross/install.sh "$out/install.sh"
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
ls -l "$out" >&2
