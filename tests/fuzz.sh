#!/usr/bin/env bash
# fuzz.sh SECONDS [SEED [OPERATIONS]]: looks for input that upsets siskin, guided by coverage (src/fuzz.rs), for half of the time; then
# runs the random tests with new seeds for the rest, or all of them once with this one. With OPERATIONS, the model of documents alone,
# until so many are done. Stops at the first failure and says how it is repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
long=$1
given=${2:-}
operations=${3:-0}

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

new_seed() {
  export SISKIN_SEED=${given:-$((RANDOM << 30 | RANDOM << 15 | RANDOM))}
}

log=$(mktemp)
trap 'rm -rf "$log" "$log.d"' EXIT

if [ "$operations" -gt 0 ]; then
  cargo build -q --locked --bin siskin
  for ((made = SISKIN_OPERATIONS; made < operations + SISKIN_OPERATIONS; made += SISKIN_OPERATIONS)); do
    new_seed
    attempt node --test tests/documents/model.test.mjs
    echo "SISKIN_SEED=$SISKIN_SEED: $made operations in $SECONDS s"
  done
  exit
fi

# The fuzzer is LLVM's, in C++; coverage is what stable rustc has of it. A target of its own: build scripts are not measured.
if [ -z "$given" ]; then
  host=$(rustc -vV | sed -n 's/host: //p')
  coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
  coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
  RUSTFLAGS="--cfg fuzzing $coverage" CARGO_TARGET_DIR=$PWD/target/fuzz \
    cargo build -q --release --locked --manifest-path tests/fuzz/Cargo.toml --target "$host"
  python3 tests/fuzz/corpus.py unpack target/fuzz/corpus
  mkdir -p target/fuzz/found "$log.d"
  parts=$(cd tests/golden/fuzz && ls ./*.txt | sed 's/^..//; s/.txt$//')
  each=$(($long / 2 / $(echo "$parts" | wc -w) + 1))
  for part in $parts; do
    # What is taken as an update may not take more than 64 MiB beside the 60 that the fuzzer is.
    memory=unlimited
    [ "$part" != updates ] || memory=$((124 << 10))
    (ulimit -v "$memory" && SISKIN_FUZZ=$part TMPDIR=$log.d exec "target/fuzz/$host/release/siskin-fuzz" -max_total_time=$each -rss_limit_mb=512 -timeout=5 \
      -artifact_prefix="target/fuzz/found/$part-" -print_final_stats=1 "target/fuzz/corpus/$part") >"$log" 2>&1 || {
      tail -60 "$log"
      printf '\nagain: SISKIN_FUZZ=%s target/fuzz/%s/release/siskin-fuzz target/fuzz/found/%s-...\n' "$part" "$host" "$part"
      exit 1
    }
    echo "$part: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $each s"
  done
fi

cargo build -q --locked --bins --examples
cargo test -q --locked --lib --no-run
SECONDS=0
long=$((long / 2))
while :; do
  new_seed
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
