#!/usr/bin/env bash
# fuzz.sh SECONDS [SEED]: runs the random tests with new seeds for so long, or once with this one. Stops at the first failure
# and says how it is repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
long=$1
given=${2:-}

# What is made of SISKIN_SEED. More of it than in `make test`, where that can be said.
rust=(random model_tests redis::reader wire::tests documents::tests)
python=(abuse/test_random.py api/test_schemathesis.py contract/test_storm.py crash/test_torn.py crash/test_kill.py redis/test_trio.py redis/test_documents.py)
node=(clients/cuts.test.mjs documents/convergence.test.mjs documents/trace.test.mjs documents/model.test.mjs documents/gaps.test.mjs redis/documents.test.mjs)
export SISKIN_ROUNDS=20000 SISKIN_FUZZ_ROUNDS=20 SISKIN_FUZZ_SECONDS=60 SISKIN_CUTS=3000 SISKIN_OPERATIONS=20000 SISKIN_RUNS=5

# attempt COMMAND...: shows what it says if it fails.
attempt() {
  "$@" >"$log" 2>&1 </dev/null && return
  cat "$log"
  printf '\nSISKIN_SEED=%s failed: %s\nagain: make fuzz SEED=%s\n' "$SISKIN_SEED" "$*" "$SISKIN_SEED"
  exit 1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo build -q --locked --bins --examples
cargo test -q --locked --lib --no-run
SECONDS=0
while :; do
  export SISKIN_SEED=${given:-$((RANDOM << 30 | RANDOM << 15 | RANDOM))}
  echo "SISKIN_SEED=$SISKIN_SEED ($SECONDS s)"
  attempt cargo test -q --locked --lib -- "${rust[@]}"
  for file in "${python[@]}"; do
    attempt tests/.venv/bin/pytest -c tests/pytest.ini --rootdir tests "tests/$file"
  done
  for file in "${node[@]}"; do
    attempt node --test --test-timeout=600000 "tests/$file"
  done
  [ -z "$given" ] && [ "$SECONDS" -lt "$long" ] || break
done
echo "nothing found in $SECONDS s"
