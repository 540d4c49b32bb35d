# said.sh: what the scripts that run beside an init system share: each line that begins with "ok" is something that held.
# A script defines `state`, which tells why something did not hold.
release=/root/payload/release
url=http://127.0.0.1:8380

ok() { echo "ok $*"; }
fail() {
  echo "not ok: $*"
  state
  exit 1
}
until_true() { # until_true WHAT COMMAND...
  local what=$1
  shift
  for _ in $(seq 150); do
    "$@" && return
    sleep 0.1
  done
  fail "no $what"
}
answers() { curl -sf --max-time 5 "$url/ready" >/dev/null; }
nothing_left() {
  local rest
  rest=$(find /etc /usr /lib /var /run -xdev -iname '*siskin*' -not -path '/var/log/syslog*' -not -path '/run/systemd/system/*' -not -path '/run/log/*' -not -path '/var/log/journal/*' 2>/dev/null || true)
  [ -z "$rest" ] || fail "left: $rest"
}
