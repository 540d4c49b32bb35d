#!/usr/bin/env bash
# `make shots`: README's screenshots of the page, out of four minutes of a running siskin with demo data.
set -euo pipefail
cd "$(dirname "$0")/../.."
for package in pngquant fonts-inter; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$package" >/dev/null
done
cargo build -q --locked --bin siskin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The same letters on every machine.
cat >"$work/fonts.conf" <<'END'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <include>/etc/fonts/fonts.conf</include>
  <match target="pattern">
    <test name="family" qual="any" compare="contains"><string>sans</string></test>
    <test name="family" qual="all" compare="not_contains"><string>Mono</string></test>
    <edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit>
  </match>
  <match target="pattern">
    <test name="family" qual="any"><string>system-ui</string></test>
    <edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit>
  </match>
</fontconfig>
END
FONTCONFIG_FILE=$work/fonts.conf TZ=UTC node tests/browser/shots.mjs "$work"
for shot in "$work"/*.png; do
  pngquant --force --speed 1 --strip --nofs --quality 70-100 128 --output "src/console/shots/$(basename "$shot")" "$shot"
done
ls -l src/console/shots
