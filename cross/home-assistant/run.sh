#!/bin/sh
# run.sh: the add-on's options as siskin's settings, its secrets made once; then siskin, as its own user. Nothing of the options is run by the shell.
set -eu
data=/data
options=$data/options.json
umask 077

# set_to SETTING OPTION: the option's value, if it has one.
set_to() {
    value=$(jq -r --arg option "$2" '.[$option] // empty' "$options")
    [ -z "$value" ] || export "$1=$value"
}

export SISKIN_LISTEN=0.0.0.0:8380 SISKIN_DATA_DIR="$data/store" CREDENTIALS_DIRECTORY="$data/credentials"
# Home Assistant's own network: it says for whom it asks.
export SISKIN_TRUSTED_PROXIES="127.0.0.0/8, ::1, 172.30.32.0/23"
set_to WEBUI_SECRET_KEY webui_secret_key
set_to SISKIN_API_KEY api_key
set_to SISKIN_DIRECTORY directory
set_to WEBSOCKET_REDIS_URL redis_url
[ -z "${WEBSOCKET_REDIS_URL:-}" ] || export WEBSOCKET_MANAGER=redis
set_to CORS_ALLOW_ORIGIN cors_allow_origin
set_to SISKIN_LOG log
# Any other setting, as NAME=value.
while IFS= read -r pair; do
    case $pair in [A-Z]*=*) export "${pair?}" ;; esac
done <<PAIRS
$(jq -r '.settings[]?' "$options")
PAIRS

mkdir -p "$SISKIN_DATA_DIR" "$CREDENTIALS_DIRECTORY"
for name in WEBUI_SECRET_KEY SISKIN_API_KEY; do
    file=$CREDENTIALS_DIRECTORY/$name
    [ -e "$file" ] && continue
    LC_ALL=C tr -dc 0-9a-f </dev/urandom | head -c 64 >"$file.new"
    mv "$file.new" "$file"
    # The key is what the console asks for; who reads this log may read the options, too.
    [ "$name" != SISKIN_API_KEY ] || echo "The API's key, unless the option api_key has another: $(cat "$file")"
done
chown -R siskin:siskin "$SISKIN_DATA_DIR" "$CREDENTIALS_DIRECTORY"
exec su -s /bin/sh -c "exec /usr/bin/siskin serve" siskin
