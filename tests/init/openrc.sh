#!/usr/bin/env bash
# openrc.sh: beside a real OpenRC whose shell and tools are busybox's, as on Alpine: installed, restarted, killed, stopped, removed.
set -euo pipefail
. /root/payload/said.sh
state() {
  rc-status -a || true
  tail -n 30 /var/log/syslog.siskin || true
}
# What an Alpine has: busybox and OpenRC, no shadow, nothing of Debian's.
mkdir /busybox
busybox --install -s /busybox
cp /root/payload/adduser /busybox/adduser
ln -s adduser /busybox/addgroup
ln -s adduser /busybox/deluser
ln -sf /busybox/sh /bin/sh
alpine() { PATH=/busybox:/lib/rc/bin:/rc "$@"; }
mkdir /rc
for tool in rc-service rc-update openrc-run supervise-daemon openrc; do ln -s "$(command -v $tool)" /rc/; done
# Where root may not raise the limit, it is what it was.
most_files() { (ulimit -n 65536 2>/dev/null; ulimit -Hn); }
daemon() { pgrep -x siskin; }

ip link set lo up
busybox syslogd -O /var/log/syslog.siskin
alpine sh "$release/install.sh" || fail "install.sh"
until_true "answer" answers
rc-update show default | grep -q siskin || fail "not started at boot"
ok "installed: it runs and answers"

pid=$(daemon)
status() { sed -n "s/^$1:\s*//p" "/proc/$pid/status"; }
[ "$(id -nu "$(status Uid | cut -f1)")" = siskin ] || fail "it runs as $(status Uid)"
[ "$(status NoNewPrivs)" = 1 ] || fail "it could get privileges"
grep -qE "open files +$(most_files) " "/proc/$pid/limits" || fail "its limit of files: $(grep files "/proc/$pid/limits")"
! tr '\0' '\n' <"/proc/$pid/environ" | grep -qf /etc/siskin/credentials/SISKIN_API_KEY || fail "a secret in the environment"
[ "$(stat -c '%U:%G %a' /etc/siskin/credentials)" = "root:siskin 750" ] || fail "credentials: $(stat -c '%U:%G %a' /etc/siskin/credentials)"
[ "$(stat -c "%U:%G %a" /etc/siskin/siskin.env)" = "root:siskin 640" ] || fail "settings: $(stat -c "%U:%G %a" /etc/siskin/siskin.env)"
[ "$(stat -c '%U:%G %a' /etc/siskin/credentials/SISKIN_API_KEY)" = "root:siskin 640" ] || fail "the key can be read by others"
[ "$(stat -c '%U %a' /var/lib/siskin)" = "siskin 700" ] || fail "store: $(stat -c '%U %a' /var/lib/siskin)"
[ "$(stat -c '%U %a' /run/siskin)" = "siskin 700" ] || fail "runtime folder: $(stat -c '%U %a' /run/siskin)"
tr '\0' '\n' <"/proc/$pid/environ" | grep -qx RUNTIME_DIRECTORY=/run/siskin || fail "it knows no folder to leave its sessions in"
logged() { grep -q 'siskin: .*listens on' /var/log/syslog.siskin; }
until_true "line in the system's log" logged
ok "a user of its own, its limits, secrets and store; its lines are in the system's log"

key=$(cat /etc/siskin/credentials/SISKIN_API_KEY)
curl -sf -X PUT "$url/api/v1/users/ann" -H "Authorization: Bearer $key" -H 'content-type: application/json' -d '{"name":"Ann"}' >/dev/null ||
  fail "the API refuses the credential's key"
echo 'SISKIN_DIRECTORY = "local" ' >>/etc/siskin/siskin.env
echo 'WEBSOCKET_REDIS_OPTIONS={"socket_timeout": 5}' >>/etc/siskin/siskin.env
alpine sh "$release/install.sh" || fail "install.sh as an upgrade"
until_true "answer after an upgrade" answers
curl -sf "$url/api/v1/users/ann" -H "Authorization: Bearer $key" | grep -q Ann || fail "the store is empty after an upgrade"
alpine /usr/local/lib/siskin/run check | grep -qF '{"socket_timeout":5} (set)' || fail "a setting does not count"
ok "upgraded: store and settings are what they were"

pid=$(daemon)
kill -KILL "$pid"
replaced() { [ -n "$(daemon)" ] && [ "$(daemon)" != "$pid" ] && answers; }
until_true "restart after SIGKILL" replaced
loggers() { [ "$(pgrep -c -x logger)" = 1 ]; }
until_true "end of the old one's logger" loggers
ok "killed: it is back"

alpine rc-service siskin stop || fail "stop"
! daemon || fail "it runs on"
echo SISKIN_LOG=loud >>/etc/siskin/siskin.env
said=$(alpine rc-service siskin start 2>&1) && fail "it starts with a wrong setting"
[[ "$said" = *"SISKIN_LOG: \"loud\" can't be used"* ]] || fail "it does not say which setting is wrong: $said"
! daemon || fail "it runs with a wrong setting"
sed -i '/SISKIN_LOG=loud/d' /etc/siskin/siskin.env
alpine rc-service siskin start || fail "start"
until_true "answer after the start" answers
ok "a wrong setting is told, and nothing started"

alpine sh "$release/install.sh" --uninstall || fail "install.sh --uninstall"
! daemon || fail "it runs on, removed"
[ -e /etc/siskin/credentials/SISKIN_API_KEY ] && [ -n "$(ls /var/lib/siskin)" ] || fail "secrets or store are gone"
alpine sh "$release/install.sh" --uninstall --purge || fail "install.sh --uninstall --purge"
rm -f /var/log/syslog.siskin
nothing_left
! grep siskin /etc/passwd /etc/group || fail "its user is left"
ok "removed: nothing is left"
