#!/usr/bin/env bash
# link.sh ARGUMENTS: what build.sh has rustc call for rust-lld. It links twice, the second time in another order: first short functions
# and what runs when siskin starts, then what waits for clients.
#
# The kernel brings the binary into memory by 64 KB, or by what it read at once, and what nobody calls takes none: so sorted 1.7 MiB of
# x86-64's 2.7 are there at rest. Which functions a start calls, valgrind --tool=callgrind tells.
set -euo pipefail
export LC_ALL=C

rust-lld "$@"

# Functions of these wait for clients, or for whoever calls another command than `serve`. Names are as the compiler writes them, with
# their length before each word.
waits='6siskin(3cli(6doctor|5check|4docs|6backup|7request|4emit)|3api|6events|3app|5peers|5redis|9directory|6engine|6socket|4http|7console|5token)'
waits+='|3yrs|5redis|5hyper|5serde|11tungstenite|3url|4idna|13data_encoding|4sha1|13argh_complete|7combine'
# But for these, which a start calls: one among those that wait brings 64 KB of them along.
starts='5House5start|9Documents6follow|11Connections6accept|6Engine3new|5token5keyed|5frame(6packet|6header)'
# Bytes of a short function. Many of these are shared by what has nothing to do with each other.
short=200

for argument; do
    [ "${before:-}" != -o ] || binary=$argument
    before=$argument
done
order=$(mktemp)
trap 'rm -f "$order"' EXIT
readelf --symbols --wide "$binary" |
    awk -v waits="$waits" -v starts="$starts" -v short=$short \
        '$4 == "FUNC" && $7 != "UND" && ($3 <= short || $8 !~ waits || $8 ~ starts) { print $2, $8 }' |
    sort -s -k1,1 | cut -d' ' -f2 >"$order"
rust-lld "$@" --symbol-ordering-file="$order" --no-warn-symbol-ordering
