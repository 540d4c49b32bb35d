#!/usr/bin/env bash
# runit.sh: beside a real runit: installed, restarted, killed, stopped, removed.
set -euo pipefail
. /root/payload/said.sh
state() {
  sv status siskin || true
  tail -n 30 /var/log/siskin/current || true
}
# Where root may not raise the limit, it is what it was.
most_files() { (ulimit -n 65536 2>/dev/null; ulimit -Hn); }
daemon() { pgrep -x siskin; }

ip link set lo up
sh "$release/install.sh" || fail "install.sh"
until_true "answer" answers
ok "installed: it runs and answers"

pid=$(daemon)
status() { sed -n "s/^$1:\s*//p" "/proc/$pid/status"; }
[ "$(id -nu "$(status Uid | cut -f1)")" = siskin ] || fail "it runs as $(status Uid)"
grep -qE "open files +$(most_files) " "/proc/$pid/limits" || fail "its limit of files: $(grep files "/proc/$pid/limits")"
! tr '\0' '\n' <"/proc/$pid/environ" | grep -qf /etc/siskin/credentials/SISKIN_API_KEY || fail "a secret in the environment"
[ "$(stat -c "%U:%G %a" /etc/siskin/siskin.env)" = "root:siskin 640" ] || fail "settings: $(stat -c "%U:%G %a" /etc/siskin/siskin.env)"
[ "$(stat -c '%U:%G %a' /etc/siskin/credentials/SISKIN_API_KEY)" = "root:siskin 640" ] || fail "the key can be read by others"
[ "$(stat -c '%U %a' /var/lib/siskin)" = "siskin 700" ] || fail "store: $(stat -c '%U %a' /var/lib/siskin)"
[ "$(stat -c '%U %a' /run/siskin)" = "siskin 700" ] || fail "runtime folder: $(stat -c '%U %a' /run/siskin)"
tr '\0' '\n' <"/proc/$pid/environ" | grep -qx RUNTIME_DIRECTORY=/run/siskin || fail "it knows no folder to leave its sessions in"
logged() { grep -q 'listens on' /var/log/siskin/current; }
until_true "line in svlogd's log" logged
ok "a user of its own, its limits, secrets and store; its lines are in svlogd's log"

key=$(cat /etc/siskin/credentials/SISKIN_API_KEY)
curl -sf -X PUT "$url/api/v1/users/ann" -H "Authorization: Bearer $key" -H 'content-type: application/json' -d '{"name":"Ann"}' >/dev/null ||
  fail "the API refuses the credential's key"
sh "$release/install.sh" || fail "install.sh as an upgrade"
until_true "answer after an upgrade" answers
curl -sf "$url/api/v1/users/ann" -H "Authorization: Bearer $key" | grep -q Ann || fail "the store is empty after an upgrade"
ok "upgraded: the store is what it was"

pid=$(daemon)
kill -KILL "$pid"
replaced() { [ -n "$(daemon)" ] && [ "$(daemon)" != "$pid" ] && answers; }
until_true "restart after SIGKILL" replaced
ok "killed: it is back"

echo SISKIN_LOG=loud >>/etc/siskin/siskin.env
sv restart siskin >/dev/null || true
down() { sv status siskin | grep -q '^down'; }
until_true "end of a siskin with a wrong setting" down
told() { grep -q SISKIN_LOG /var/log/siskin/current; }
until_true "line about it" told
count=$(grep -c "SISKIN_LOG" /var/log/siskin/current)
sleep 2
[ "$count" = "$(grep -c "SISKIN_LOG" /var/log/siskin/current)" ] && down || fail "it is started again with a wrong setting"
sed -i '/SISKIN_LOG=loud/d' /etc/siskin/siskin.env
sv start siskin >/dev/null || fail "start"
until_true "answer after the start" answers
ok "a wrong setting stops it, once"

sh "$release/install.sh" --uninstall || fail "install.sh --uninstall"
! daemon || fail "it runs on, removed"
[ -e /etc/siskin/credentials/SISKIN_API_KEY ] && [ -n "$(ls /var/lib/siskin)" ] || fail "secrets or store are gone"
sh "$release/install.sh" --uninstall --purge || fail "install.sh --uninstall --purge"
nothing_left
! grep siskin /etc/passwd /etc/group || fail "its user is left"
ok "removed: nothing is left"
