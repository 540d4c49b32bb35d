#!/usr/bin/env bash
# inside.sh: what boot.sh runs beside a real systemd: the package's whole life. Each line that begins with "ok" is something that held.
set -euo pipefail
. /root/payload/said.sh
package=$(echo "$release"/siskin_*_amd64.deb)
state() {
  systemctl status --no-pager siskin.service siskin.socket || true
  journalctl --no-pager -n 30 || true
}
property() { systemctl show -P "$1" "${2:-siskin.service}"; }

ip link set lo up
dpkg -i "$package" || fail "dpkg -i"
[ "$(systemctl is-active siskin)" = active ] || fail "not started by its installation"
[ "$(systemctl is-enabled siskin)" = enabled ] || fail "not enabled by its installation"
until_true "answer" answers
ok "installed: it runs and answers"

pid=$(property MainPID)
status() { sed -n "s/^$1:\s*//p" "/proc/$pid/status"; }
[ "$(property Type)" = notify ] && [[ "$(property StatusText)" = *sessions* ]] || fail "no STATUS: $(property StatusText)"
[ "$(status Uid | cut -f1)" != 0 ] || fail "it runs as root"
[ "$(status CapEff)" = 0000000000000000 ] && [ "$(status CapBnd)" = 0000000000000000 ] || fail "it has capabilities"
[ "$(status NoNewPrivs)" = 1 ] && [ "$(status Seccomp)" = 2 ] || fail "no filter of system calls"
! tr '\0' '\n' <"/proc/$pid/environ" | grep -qf /etc/siskin/credentials/SISKIN_API_KEY || fail "a secret in the environment"
[ "$(stat -c %a /etc/siskin/credentials/SISKIN_API_KEY)" = 600 ] || fail "the key can be read by others"
! journalctl -o cat --no-pager -u siskin | grep -iE 'warn|error|panic|denied|not permitted' || fail "complaints in the journal"
journalctl -o cat --no-pager -u siskin | grep -qE '^siskin [0-9.]+ listens on' || fail "the journal's lines are not clean"
ok "sandboxed: user $(status Uid | cut -f1), no capability, system calls filtered, secrets as credentials"

key=$(cat /etc/siskin/credentials/SISKIN_API_KEY)
curl -sf -X PUT "$url/api/v1/users/ann" -H "Authorization: Bearer $key" -H 'content-type: application/json' -d '{"name":"Ann"}' >/dev/null ||
  fail "the API refuses the credential's key"
[ -n "$(ls /var/lib/private/siskin)" ] || fail "no store in its StateDirectory"
systemctl restart siskin
curl -sf "$url/api/v1/users/ann" -H "Authorization: Bearer $key" | grep -q Ann || fail "the store is empty after a restart"
ok "the store is in /var/lib/siskin and outlives a restart"

systemctl stop siskin
systemctl enable -q --now siskin.socket
systemctl start siskin
(
  while [ ! -e /tmp/enough ]; do
    if curl -sf --max-time 20 "$url/health" >/dev/null; then echo yes; else echo "no ($?)"; fi
  done >/tmp/connections
) &
for _ in 1 2 3; do systemctl restart siskin; done
dpkg -i "$package" >/dev/null || fail "dpkg -i as an upgrade"
until_true "answer" answers
touch /tmp/enough
wait
! grep -v yes /tmp/connections || fail "connections were lost"
[ "$(grep -c yes /tmp/connections)" -gt 10 ] || fail "too few connections tried"
ok "socket activation: $(grep -c yes /tmp/connections) connections over three restarts and an upgrade, none lost"

# What another process publishes while nothing of siskin runs.
redis-server --port 6399 --save '' --daemonize yes >/dev/null
cat >/usr/bin/say-news <<'SAY'
#!/bin/sh
exec redis-cli -p 6399 publish 'socketio#/#user:ann' '{"method":"emit","event":"news","binary":false,"data":["'"$1"'"],"namespace":"/","room":"user:ann","skip_sid":null,"callback":null,"host_id":"another"}'
SAY
chmod 755 /usr/bin/say-news
mkdir -p /run/systemd/system/siskin.service.d
printf '[Service]\nEnvironment=WEBSOCKET_MANAGER=redis WEBSOCKET_REDIS_URL=redis://127.0.0.1:6399\nExecStartPre=/usr/bin/say-news one\nExecStartPre=/usr/bin/say-news two\n' >/run/systemd/system/siskin.service.d/redis.conf
systemctl daemon-reload
systemctl restart siskin
until_true "answer with Redis" answers
token=$(WEBUI_SECRET_KEY=$(cat /etc/siskin/credentials/WEBUI_SECRET_KEY) siskin token --id ann)
python3 /root/payload/client.py "$token" one two >/tmp/client 2>&1 &
client=$!
is_in_its_room() { grep -q connected /tmp/client && [ "$(redis-cli -p 6399 pubsub numsub 'socketio#/#user:ann' | tail -1)" = 1 ]; }
until_true "client in its room" is_in_its_room
systemctl restart siskin
wait "$client" || fail "the session did not go on: $(cat /tmp/client)"
[ "$(property NFileDescriptorStore)" = 0 ] || fail "systemd still keeps a socket"
rm /run/systemd/system/siskin.service.d/redis.conf /usr/bin/say-news
redis-cli -p 6399 shutdown nosave
systemctl daemon-reload
systemctl restart siskin
until_true "answer without Redis" answers
ok "with Redis a session goes on over a restart, with what was published meanwhile"

printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/siskin.service.d/test.conf
systemctl daemon-reload
systemctl restart siskin
before=$(property NRestarts)
kill -STOP "$(property MainPID)"
restarted() { [ "$(property NRestarts)" -gt "$before" ]; }
until_true "restart by the watchdog" restarted
until_true "answer after the watchdog's restart" answers
ok "watchdog: a hanging siskin is replaced"

pid=$(property MainPID)
kill -KILL "$pid"
replaced() { [ "$(property MainPID)" != "$pid" ] && answers; }
until_true "restart after SIGKILL" replaced
ok "killed: it is back"

systemctl stop siskin.socket siskin
echo SISKIN_LOG=loud >>/etc/siskin/siskin.env
systemctl start siskin 2>/dev/null && fail "it starts with a wrong setting"
[ "$(property ExecMainStatus)" = 2 ] || fail "exit code $(property ExecMainStatus) of a wrong setting"
sleep 2
[ "$(property SubState)" = failed ] || fail "it is started again with a wrong setting: $(property SubState)"
ok "a wrong setting stops it, once"

# What `run` makes of a settings file, beside what systemd makes of it.
sed 's#/etc/siskin/siskin.env#/root/payload/odd.env#; s#^exec /usr/bin/siskin#exec#' /usr/lib/siskin/run >/root/run
names=$(sed -n 's/^ *\([A-Za-z]*\) *=.*/\1/p' /root/payload/odd.env | sort -u | paste -sd'|')
printf '[Service]\nType=oneshot\nEnvironmentFile=/root/payload/odd.env\nStandardOutput=file:/tmp/theirs\nExecStart=env -0\n' >/run/systemd/system/odd.service
systemctl start odd
sh /root/run env -0 >/tmp/ours
for one in theirs ours; do grep -zE "^($names)=" /tmp/$one | sort -z | tr '\0' '\n' >/tmp/$one.sorted; done
diff /tmp/theirs.sorted /tmp/ours.sorted || fail "run reads a settings file in another way than systemd"
[ "$(grep -c = /tmp/ours.sorted)" -gt 15 ] && [ ! -e /tmp/evaluated ] || fail "not the settings: $(cat /tmp/ours.sorted)"
ok "run reads settings as systemd does"

dpkg -P siskin || fail "dpkg -P"
nothing_left
ok "purged: nothing is left"

for what in install upgrade; do
  sh "$release/install.sh" || fail "install.sh: $what"
  [ "$(systemctl is-enabled siskin)" = enabled ] || fail "not enabled by install.sh"
  [ "$(readlink "/proc/$(property MainPID)/exe")" = /usr/local/bin/siskin ] || fail "another binary runs"
  until_true "answer after install.sh: $what" answers
done
sh "$release/install.sh" --uninstall --purge || fail "install.sh --uninstall --purge"
! systemctl is-active -q siskin || fail "it still runs"
nothing_left
ok "install.sh installs, upgrades and removes it: nothing is left"
