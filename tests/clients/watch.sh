#!/usr/bin/env bash
# watch.sh URL: signs in as Ann with a real socket.io-client, streams an answer to her through the HTTP API
# with curl, and shows how it arrives. The keys are those of `make run`.
set -euo pipefail
cd "$(dirname "$0")/../.."
url=${1:-http://127.0.0.1:8380}
WEBUI_SECRET_KEY=$(cat target/try/secret)
export WEBUI_SECRET_KEY
token=$(target/quick/siskin token --id ann --name Ann --role user --ttl 1h)
[ -d tests/node_modules/socket.io-client ] || (cd tests && npm ci --silent)

words=(The siskin is a small bird that lives in the tops of conifers and weighs twelve grams.)
stream() {
  sleep 1
  for word in "${words[@]}"; do
    printf '{"type":"message","data":{"content":"%s "}}\n' "$word"
    sleep 0.15
  done
  printf '{"type":"chat:completion","data":{"done":true}}\n'
}
stream | curl -sS -N -T - -X POST -H "Authorization: Bearer $(cat target/try/key)" -H 'Content-Type: application/x-ndjson' -H 'Expect:' \
  "$url/api/v1/chat/stream?user_id=ann&chat_id=local:try&message_id=m1" >target/try/reply &
node tests/clients/watch.mjs "$url" "$token"
wait
printf 'the API answered: '
cat target/try/reply
echo
