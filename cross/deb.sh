#!/usr/bin/env bash
# deb.sh TARGET FOLDER: packs the binary that build.sh made as FOLDER/siskin_VERSION_ARCHITECTURE.deb; prints its path. The same input gives the same bytes.
# With ARMV6=yes that of armhf holds ARMv6's binary, too, for Raspberry Pi OS on a Pi 1 or Zero: its installation names the right one
# /usr/bin/siskin. (2.5 MiB more on the card; ARMv6's alone is 45 % larger than ARMv7's, since it can't be Thumb.)
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?usage: cross/deb.sh TARGET FOLDER}
mkdir -p "${2:?usage: cross/deb.sh TARGET FOLDER}"
out=$(cd "$2" && pwd)
binary=target/$target/siskin

case $target in
aarch64-unknown-linux-musl) architecture=arm64 ;;
armv7-unknown-linux-musleabihf) architecture=armhf ;;
x86_64-unknown-linux-musl) architecture=amd64 ;;
riscv64gc-unknown-linux-musl) architecture=riscv64 ;;
*)
    echo "deb.sh: unknown target $target" >&2
    exit 2
    ;;
esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# The time of the last commit; without git a day that never changes.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}"
export SOURCE_DATE_EPOCH
run=$(bash cross/runner.sh "$target")

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
chmod 755 "$root"

both=
[ "$architecture:${ARMV6:-}" != armhf:yes ] || both=yes
if [ -n "$both" ]; then
    install -Dm755 "$binary" "$root/usr/lib/siskin/siskin-armv7"
    install -Dm755 target/arm-unknown-linux-musleabihf/siskin "$root/usr/lib/siskin/siskin-armv6"
else
    install -Dm755 "$binary" "$root/usr/bin/siskin"
fi
install -Dm755 cross/init/run "$root/usr/lib/siskin/run"
install -Dm644 cross/siskin.service "$root/lib/systemd/system/siskin.service"
install -Dm644 cross/siskin.socket "$root/lib/systemd/system/siskin.socket"
install -d "$root/etc/siskin" "$root/usr/share/man/man1" "$root/usr/share/doc/siskin" \
    "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
$run "$binary" env >"$root/etc/siskin/siskin.env"
chmod 640 "$root/etc/siskin/siskin.env"
$run "$binary" man | gzip -9n >"$root/usr/share/man/man1/siskin.1.gz"
$run "$binary" completions bash >"$root/usr/share/bash-completion/completions/siskin"
$run "$binary" completions zsh >"$root/usr/share/zsh/vendor-completions/_siskin"
$run "$binary" completions fish >"$root/usr/share/fish/vendor_completions.d/siskin.fish"

# Debian wants its own form of the licence and the list of changes; what is built in comes from crates.io, each with its licence.
doc=$root/usr/share/doc/siskin
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: siskin\n\n'
    printf 'Files: *\nCopyright: %s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) //p' LICENSE)"
    sed -n '/^Permission/,$p' LICENSE | sed 's/^$/./; s/^/ /'
    printf '\nComment: The binary holds what sbom.cdx.json lists;\n its notices are in third-party.txt.gz.\n'
} >"$doc/copyright"
{
    printf 'siskin (%s) stable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n' "$version"
    printf ' -- siskin <siskin@localhost>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.gz"
python3 cross/sbom.py "$target" >"$doc/sbom.cdx.json"
python3 cross/sbom.py --notices "$target" | gzip -9n >"$doc/third-party.txt.gz"

install -Dm644 /dev/stdin "$root/usr/share/lintian/overrides/siskin" <<OVERRIDES
# One static binary on purpose: it runs on every Debian and every other Linux.
$(cd "$root" && for file in usr/bin/siskin usr/lib/siskin/siskin-arm*; do [ ! -f "$file" ] || echo "siskin: statically-linked-binary [$file]"; done)
# Somebody may write a secret into it.
siskin: non-standard-file-perm 0640 != 0644 [etc/siskin/siskin.env]
# The project has no mail address; its issues are its way to be reached.
siskin: bogus-mail-host Maintainer siskin@localhost
siskin: bogus-mail-host-in-debian-changelog siskin@localhost (for version $version) [usr/share/doc/siskin/changelog.gz:1]
OVERRIDES

control=$root/DEBIAN
mkdir "$control"
cat >"$control/control" <<CONTROL
Package: siskin
Version: $version
Architecture: $architecture
Maintainer: siskin <siskin@localhost>
Installed-Size: $(du -k -s --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Pre-Depends: init-system-helpers (>= 1.54~)
Suggests: redis-server
Section: net
Priority: optional
Description: live connection of an AI chat application
 An Engine.IO and Socket.IO server with Open WebUI's events, an HTTP API for
 the application's backend, shared documents and an embedded store, as one
 small static binary.
CONTROL
echo /etc/siskin/siskin.env >"$control/conffiles"
install -m755 cross/deb/postinst cross/deb/prerm cross/deb/postrm "$control/"
[ "$architecture$both" != armhf ] || install -m755 cross/deb/preinst "$control/"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$control/md5sums"

package=$out/siskin_${version}_$architecture.deb
find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >&2
echo "$package"
