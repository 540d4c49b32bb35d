// A full house on 512 MB: as many connections as siskin takes, unfinished messages, documents, and clients who read nothing. It refuses, and is
// never killed.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import * as Y from "yjs";
import { sleep, waitFor } from "../harness.mjs";
import { figure, print } from "./figures.mjs";
import { LONG, Pi, machineName, release } from "./machine.mjs";

const options = { timeout: 2 * 3600_000 };
const pi = new Pi("crowd", { memory: "512M" });
const MIB = 1 << 20;
let honest;
let pid;

before(async () => {
  await pi.start();
  const files = readdirSync(release).filter((name) => /_arm64\.deb$/.test(name));
  await pi.copy(files.map((name) => join(release, name)), "siskin");
  await pi.run("sudo dpkg -i siskin/*.deb");
  // All come from one address. Those who read nothing answer no ping, and what a Pi does in seconds takes it minutes in emulation: nobody is asked meanwhile.
  await pi.open("SISKIN_MAX_CONNECTIONS_PER_ADDRESS=100000", "WEBSOCKET_SERVER_PING_INTERVAL=86400");
  pid = await pi.property("MainPID");
  const socket = io(pi.url, { path: "/ws/socket.io", auth: { token: pi.token("honest") }, transports: ["websocket"], timeout: LONG * 1000 });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  honest = socket;
}, options);

after(async () => {
  print();
  honest?.disconnect();
  await pi.close();
});

/** The honest one is served all the same; it is the same process, and nothing was killed. */
async function allIsWell(what) {
  const began = Date.now();
  await honest.timeout(LONG * 1000).emitWithAck("user-join", { auth: { token: pi.token("honest") } });
  const took = Date.now() - began;
  const group = "/sys/fs/cgroup/system.slice/siskin.service";
  const said = await pi.run(`cat ${group}/memory.current ${group}/memory.peak ${group}/memory.max; awk '/^oom_kill / {print $2}' ${group}/memory.events; awk '/^VmRSS/ {print $2}' /proc/${pid}/status; awk '/^MemAvailable/ {print $2}' /proc/meminfo`);
  const [current, peak, most, killed, rss, available] = said.trim().split("\n").map(Number);
  assert.deepEqual([await pi.property("MainPID"), await pi.property("NRestarts"), killed], [pid, "0", 0], await pi.run("sudo journalctl -n 20 --no-pager"));
  const mib = (bytes) => (bytes / MIB).toFixed(0);
  figure(what, `${mib(rss * 1024)} MiB RSS; with the kernel's ${mib(current)}, at most ${mib(peak)} so far, of ${mib(most)} MiB; ${mib(available * 1024)} left to the machine; an answer in ${took} ms`);
}

/**
 * What the machine itself runs, as its network is too slow for many in emulation: websockets, connected to the namespace. `come` brings those in for whom there is room,
 * `hear` waits for a word.
 */
const WEBSOCKETS = String.raw`use Socket;
use Fcntl;
$| = 1;
my $refused = 0;
sub hear {
  my ($socket, $what) = @_;
  my $said = "";
  sysread $socket, $said, 65536, length $said or die "after '$said': $!" until $said =~ $what;
  $said;
}
sub text { my $text = shift; pack("CCnN", 0x81, 0xfe, length $text, 0) . $text }
sub come {
  my @tokens = @_;
  my @coming = map {
    socket my $socket, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    connect $socket, sockaddr_in(8380, INADDR_LOOPBACK) or die "connect: $!";
    syswrite $socket, "GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: pi\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    $socket;
  } @tokens;
  @coming = grep { hear($_, qr/\r\n\r\n/) !~ /^\S+ 503/ or $refused++ * 0 } @coming;
  syswrite $coming[$_], text(sprintf '40{"token":"%s"}', $tokens[$_]) for 0 .. $#coming;
  hear($_, qr/40\{"sid"/) for @coming;
  @coming;
}
open my $file, "<", shift or die;
chomp(my @tokens = <$file>);
`;

/** 64 come at a time, until all are there or 16 were refused. They read nothing. On SIGUSR1 sixteen go, and each of 400 sends 100 kB of a message of 8 MB. */
const CROWD = String.raw`${WEBSOCKETS}
my @sockets;
while (@tokens && $refused < 16) {
  push @sockets, come(splice @tokens, 0, 64);
  print scalar @sockets, "\n" if @sockets % 1024 < 64;
}
$SIG{USR1} = sub {
  splice @sockets, 0, 16;
  for my $socket (@sockets[0 .. 399]) {
    fcntl $socket, F_SETFL, O_NONBLOCK;
    syswrite $socket, pack("CCNNN", 0x81, 0xff, 0, 8 << 20, 0) . "x" x 100_000;
  }
};
print "done ", scalar @sockets, "\n";
sleep 60 while 1;
`;

/** Each opens a document of its own and writes SIZE characters into it; says how many were taken, and what the first was told who was refused. */
const WRITERS = String.raw`${WEBSOCKETS}
my $update = pack("H*", shift) . "x" x shift() . pack("H*", shift);
my ($taken, $told, @sockets) = (0, "");
for my $n (0 .. $#tokens) {
  # Who says nothing for two minutes counts as gone.
  syswrite $_, text('42["heartbeat",{}]') for @sockets;
  my ($socket) = come($tokens[$n]);
  push @sockets, $socket;
  syswrite $socket, text(qq(421["ydoc:document:join",{"document_id":"doc-$n"}]));
  hear($socket, qr/431\[/);
  syswrite $socket, text(qq(451-2["ydoc:document:update",{"document_id":"doc-$n","update":{"_placeholder":true,"num":0}}]));
  my $frame = pack("CCNNN", 0x82, 0xff, 0, length $update, 0) . $update;
  for (my $at = 0; $at < length $frame; ) { $at += syswrite $socket, $frame, 65536, $at or die "write: $!" }
  my ($answer) = hear($socket, qr/432(\[[^\]]*\])/) =~ /432(\[[^\]]*\])/;
  if ($answer eq "[]") { $taken++ } else { $told ||= $answer }
}
print "done $taken $told\n";
sleep 60 while 1;
`;

/** Lets these users come in and do what a program says; resolves to what it has done then. */
async function come(name, program, users, ...words) {
  await pi.run(`cat >${name}.pl`, { input: program });
  await pi.run(`cat >${name}`, { input: `${users.map((user) => pi.token(user)).join("\n")}\n` });
  const command = `perl $PWD/${name}.pl $PWD/${name} ${words.join(" ")}`;
  await pi.run(`sudo systemd-run --quiet --unit=${name} -p LimitNOFILE=65536 -p StandardOutput=file:/run/${name} ${command}`);
  let shown = "";
  const done = async () => {
    await sleep(2000);
    const last = (await pi.run(`systemctl is-active --quiet ${name} || { sudo journalctl -o cat -u ${name}; exit 1; }; tail -n 1 /run/${name}`)).trim();
    if (last !== shown) console.log(`# ${name}: ${(shown = last)}`);
    return /done (.+)/.exec(last)?.[1];
  };
  return waitFor(done, { seconds: 3600, what: `${name} who came` });
}

const go = (name) => pi.run(`sudo systemctl stop ${name}`);

test("at rest", options, async () => {
  const size = await pi.run("free -m | awk '/Mem/ {print $2}'");
  await allIsWell(`512 MB (${machineName} with mem=512M: ${size.trim()} MiB): at rest`);
});

/** A backend on the machine. */
const BACKEND = String.raw`use IO::Socket::INET;
my $api = IO::Socket::INET->new("127.0.0.1:8380") or die;
my $text = "x" x 900_000;
for my $n (0 .. 191) {
  my $body = sprintf '{"event":"news","user_id":"slow%d","data":"%s"}', $n % 64, $text;
  print $api "POST /api/v1/emit HTTP/1.1\r\nHost: pi\r\nAuthorization: Bearer $ARGV[0]\r\nContent-Type: application/json\r\n",
    "Content-Length: ", length $body, "\r\n\r\n", $body;
  my ($said, $length) = ("", 0);
  while (($_ = <$api>) !~ /^\r/) { $said .= $_; $length = $1 if /^content-length: (\d+)/i }
  read $api, $_, $length;
  die "$said$_" if $said !~ /^HTTP.1.1 200/;
}
`;

test("clients who read nothing are closed when there is no room for what waits", options, async () => {
  const users = Array.from({ length: 64 }, (_, n) => `slow${n}`);
  assert.equal(await come("readers", CROWD, users), "64");
  // 900 kB to each, three times.
  await pi.run("perl - $(sudo cat /etc/siskin/credentials/SISKIN_API_KEY)", { input: BACKEND });
  const closed = await pi.metric("siskin_outbox_overflows_total");
  await allIsWell(`64 clients who read nothing, 170 MB for them: ${closed} closed`);
  assert.ok(closed > 0);
  await go("readers");
});

test("documents are refused when there is no room", options, async () => {
  const doc = new Y.Doc();
  const text = "x".repeat(1_900_000);
  doc.getText("text").insert(0, text);
  const update = Buffer.from(Y.encodeStateAsUpdate(doc));
  const at = update.indexOf("xx");
  const parts = [update.toString("hex", 0, at), text.length, update.toString("hex", at + text.length)];
  const users = Array.from({ length: 24 }, (_, n) => `writer${n}`);
  const said = await come("writers", WRITERS, users, ...parts);
  const [, taken, told] = /(\d+) (.*)/.exec(said);
  await allIsWell(`24 clients with a document of 1.9 MB each, ${taken} of them taken, the others refused`);
  assert.ok(taken > 0 && taken < 24, said);
  assert.deepEqual(JSON.parse(told), [{ stored: false, reason: "no room" }]);
  await go("writers");
});

test("connections are refused over the limit, also with unfinished messages from many", options, async () => {
  // One for 16 KiB of the memory; some others may have one.
  const limit = Number(await pi.run("cat /sys/fs/cgroup/system.slice/siskin.service/memory.max")) >> 14;
  const count = Number(await come("many", CROWD, Array.from({ length: limit + 64 }, (_, n) => `many${n}`)));
  await allIsWell(`${count} websockets, all further ones refused`);
  assert.ok(count > limit - 16 && count <= limit, `${count} came, the limit is ${limit}`);
  await pi.run("sudo systemctl kill --signal=USR1 many");
  let bytes = 0;
  await waitFor(async () => (bytes = await pi.metric("siskin_input_bytes")) > 10 * MIB || sleep(500), { seconds: LONG, what: "unfinished input" });
  const open = await pi.metric('siskin_sessions{transport="websocket"}');
  assert.ok(open >= count - 16, `${open} are open of ${count}`);
  await allIsWell(`and 400 of them in the middle of a message, ${(bytes / MIB).toFixed(0)} MiB of it taken`);
  await go("many");
});
