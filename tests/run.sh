#!/usr/bin/env bash
# Runs every test: Rust, Python, Node. Ends with how long each part took and one line of what passed and what failed.
#
# ONLY="rust abuse" runs these parts alone: `lint`, `rust`, or a folder of tests/.
set -uo pipefail
cd "$(dirname "$0")/.."
passed=0
failed=0
took=""

for part in ${ONLY:-}; do
  if [ "$part" != lint ] && [ "$part" != rust ] && [ ! -d "tests/$part" ]; then
    echo "there is no part \"$part\": it is lint, rust or a folder of tests/" >&2
    exit 2
  fi
done

# wanted PART: is this part to be run?
wanted() {
  [ -z "${ONLY:-}" ] || [[ " $ONLY " == *" $1 "* ]]
}

# step NAME COMMAND...: runs a command, counts what its runner says it ran.
step() {
  local name=$1 log code
  shift
  log=$(mktemp)
  echo "== $name"
  local began=$SECONDS
  "$@" 2>&1 </dev/null | tee "$log"
  code=${PIPESTATUS[0]}
  local ran lost
  ran=$(count "$log" passed)
  lost=$(count "$log" failed)
  [ "$code" = 0 ] || [ "$lost" -gt 0 ] || lost=1
  [ $((ran + lost)) -gt 0 ] || ran=1
  passed=$((passed + ran))
  failed=$((failed + lost))
  local seconds=$((SECONDS - began))
  echo "-- $name: $ran passed, $lost failed, $seconds s"
  took+="$(printf '%5d s  %s' "$seconds" "$name")"$'\n'
  rm -f "$log"
}

# count LOG passed|failed: sums what cargo test, pytest and node --test print.
count() {
  local node=pass
  [ "$2" = passed ] || node=fail
  grep -aoE "[0-9]+ $2|^(ℹ|#) $node [0-9]+" "$1" | grep -oE '[0-9]+' | awk '{ sum += $1 } END { print sum + 0 }'
}

if wanted lint; then
  step format cargo fmt --check
  step clippy cargo clippy -q --all-targets --locked -- -D warnings
  step "clippy, least features" cargo clippy -q --locked --no-default-features -- -D warnings
  step "clippy, with TLS" cargo clippy -q --locked --features tls -- -D warnings
fi
if wanted rust; then
  step rust cargo test -q --locked --features tls
fi
step build cargo build -q --locked --bins --examples
for folder in tests/*/; do
  name=$(basename "$folder")
  case "$name" in node_modules | bench | golden) continue ;; esac
  wanted "$name" || continue
  if compgen -G "$folder*.sh" >/dev/null && [ -f "$folder/test.sh" ]; then
    step "$name (shell)" bash "$folder/test.sh"
  fi
  if compgen -G "${folder}test_*.py" >/dev/null; then
    step "$name (python)" tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests "$folder"
  fi
  if compgen -G "$folder*.test.mjs" >/dev/null; then
    step "$name (node)" node --test --test-reporter=spec --test-concurrency=2 --test-timeout=600000 "$folder"*.test.mjs
  fi
done

echo
sort -rn <<<"${took%$'\n'}"
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
