#!/usr/bin/env bash
# `make run`: builds siskin, starts it with keys of its own, and prints what to do next.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --profile quick
dev=target/try
mkdir -p "$dev"
# Kept between runs, so that a token stays good.
[ -f "$dev/secret" ] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dev/secret"
[ -f "$dev/key" ] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dev/key"
WEBUI_SECRET_KEY=$(cat "$dev/secret")
SISKIN_API_KEY=$(cat "$dev/key")
export WEBUI_SECRET_KEY SISKIN_API_KEY SISKIN_TRUST_TOKEN_CLAIMS=true
export SISKIN_LISTEN=${SISKIN_LISTEN:-127.0.0.1:8380} SISKIN_DATA_DIR=${SISKIN_DATA_DIR:-$dev/data}
siskin=target/quick/siskin
token=$($siskin token --id ann --name Ann --role user --ttl 30d)

cat <<END

siskin is at http://$SISKIN_LISTEN (stop it with Ctrl-C)

  a user's token:  $token
  the API's key:   $SISKIN_API_KEY

Open that page in a browser and paste both there: the key shows how siskin is doing, the token tries what its clients can do.

Watch a streamed answer arrive in a real socket.io-client: in another terminal, in this folder, paste

  bash tests/clients/watch.sh http://$SISKIN_LISTEN

END
exec $siskin serve
