#!/usr/bin/env bash
# link.sh ARGUMENTS: what build.sh has rustc call for rust-lld. It links twice, the second time in another order: first short functions
# and what runs when siskin starts, then what waits for clients.
#
# The kernel brings the binary into memory by 64 KB, and what nobody calls takes none: so sorted it takes a fifth less at rest.
set -euo pipefail
export LC_ALL=C

rust-lld "$@"

# Functions of these waits for clients. Names are as the compiler writes them, with their length before each word.
waits='6siskin(3api|6events|3app|5peers|5redis|9directory|6engine|6socket|4http|7console|5token)'
waits+='|3yrs|5redis|5hyper|5serde|11tungstenite|3url|4idna|13data_encoding|4sha[12]|13argh_complete|7combine'
# Bytes of a short function. Many of these are shared by what has nothing to do with each other.
short=400

for argument; do
    [ "${before:-}" != -o ] || binary=$argument
    before=$argument
done
order=$(mktemp)
trap 'rm -f "$order"' EXIT
readelf --symbols --wide "$binary" |
    awk -v waits="$waits" -v short=$short '$4 == "FUNC" && $7 != "UND" && ($3 <= short || $8 !~ waits) { print ($3 > short), $2, $8 }' |
    sort -s -k1,2 | cut -d' ' -f3 >"$order"
rust-lld "$@" --symbol-ordering-file="$order" --no-warn-symbol-ordering
