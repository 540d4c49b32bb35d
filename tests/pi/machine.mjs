// An emulated Pi: qemu with Debian's kernel, systemd and a card of its own; it is booted, asked over ssh, and its plug is pulled.

import { execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, sleep, waitFor } from "../harness.mjs";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** A release's files: what `make dist` made, or arm64's alone. */
export const release = process.env.RELEASE ?? join(root, "dist");
const made = join(root, "target/pi");
/** Seconds that something may take: on a busy machine an emulated boot takes minutes. */
export const LONG = 1200;

// A Pi 3 as it is, whose network is one of USB; or the machine that exists in emulators alone, with a Pi 3's processor.
const MACHINES = {
  raspi3b: {
    card: "/dev/mmcblk0",
    words: (card) => ["-M", "raspi3b", "-dtb", `${made}/bcm2837-rpi-3-b.dtb`, "-drive", `if=sd,${card}`, "-device", "usb-net,netdev=net"],
  },
  virt: {
    card: "/dev/vda",
    words: (card) => [
      ...["-M", "virt", "-cpu", "cortex-a53", "-smp", "4", "-m", "1G", "-drive", `if=none,id=card,${card}`],
      ...["-device", "virtio-blk-device,drive=card", "-device", "virtio-net-device,netdev=net"],
    ],
  },
};
export const machineName = process.env.MACHINE ?? "raspi3b";

const part = (data) => Buffer.from(JSON.stringify(data)).toString("base64url");

/** A machine with a new card of this name. `memory` is what its kernel is told that there is, as 512M. */
export class Pi {
  constructor(name, { memory } = {}) {
    Object.assign(this, { name, memory, boots: 0 });
    this.card = join(made, `${name}.raw`);
    this.console = join(made, `${name}.console`);
    mkdirSync(made, { recursive: true });
    rmSync(this.console, { force: true });
    // Not as qcow2, which writes down only when it is told to flush where a block of the card is: an SD card is told so by nobody.
    execFileSync("cp", ["--sparse=always", join(made, "card.raw"), this.card]);
  }

  /** Boots it and waits until somebody can log in. */
  async start() {
    const machine = MACHINES[machineName];
    this.port ??= await freePort();
    this.sshPort ??= await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    const forward = [this.sshPort, 22, this.port, 8380];
    // Mounting replays the card's journal; a look at all of it would end in another boot, of minutes. There is nothing to reap without LVM.
    const kernel = `console=ttyAMA0,115200 root=${machine.card} fsck.mode=skip systemd.mask=e2scrub_reap.service quiet${this.memory ? ` mem=${this.memory}` : ""}`;
    const words = [
      ...machine.words(`format=raw,file=${this.card}`),
      ...["-kernel", `${made}/Image`, "-initrd", `${made}/initrd`, "-append", kernel, "-display", "none", "-monitor", "none", "-serial", "stdio"],
      ...["-netdev", `user,id=net,hostfwd=tcp:127.0.0.1:${forward[0]}-:${forward[1]},hostfwd=tcp:127.0.0.1:${forward[2]}-:${forward[3]}`],
    ];
    const log = openSync(this.console, "a");
    this.boots += 1;
    this.qemu = spawn("qemu-system-aarch64", words, { stdio: ["ignore", log, log] });
    this.ended = new Promise((resolve) => this.qemu.once("close", resolve));
    const isUp = () => (this.#isOn() ? this.run("true").then(() => true, () => sleep(1000)) : Promise.reject(new Error(`qemu ended: ${this.said()}`)));
    await waitFor(isUp, { seconds: LONG, what: "a booted machine" });
  }

  #isOn() {
    return this.qemu.exitCode === null && this.qemu.signalCode === null;
  }

  /** What the machine wrote on its console last. */
  said() {
    return readFileSync(this.console, "latin1").slice(-3000);
  }

  /** Pulls the plug: what is not on the card is gone. */
  async pull() {
    this.qemu.kill("SIGKILL");
    await this.ended;
  }

  /** Shuts it down. */
  async stop() {
    await this.run("sudo systemctl poweroff").catch(() => {});
    await Promise.race([this.ended, sleep(LONG * 1000)]);
    if (this.#isOn()) await this.pull();
  }

  /** The end: nothing is left but the console's log. */
  async close() {
    if (this.qemu) await this.pull();
    rmSync(this.card, { force: true });
  }

  /** What a command of the user pi's shell says; throws if it fails. `input` is a file's. */
  run(command, { input = "" } = {}) {
    const options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "ConnectTimeout=60", "ServerAliveInterval=30", "ServerAliveCountMax=40"];
    // One connection for all of a boot: a handshake takes an emulated Pi seconds.
    options.push("ControlMaster=auto", "ControlPersist=600", `ControlPath=/tmp/siskin-pi-${this.sshPort}-${this.boots}`);
    const words = ["-p", this.sshPort, "-i", join(made, "key"), ...options.flatMap((option) => ["-o", option]), "pi@127.0.0.1", command];
    return new Promise((resolve, reject) => {
      const ssh = spawn("ssh", words, { stdio: ["pipe", "pipe", "pipe"] });
      let [out, err] = ["", ""];
      ssh.stdout.on("data", (data) => (out += data));
      ssh.stderr.on("data", (data) => (err += data));
      ssh.stdin.on("error", () => {}).end(input);
      ssh.on("exit", (code) => setImmediate(() => (code === 0 ? resolve(out) : reject(new Error(`${command}: ${code}\n${out}${err}${code === 255 ? this.said() : ""}`)))));
    });
  }

  /** Copies files into a folder of its user. */
  copy(files, folder) {
    const packed = execFileSync("tar", ["-c", ...files.flatMap((file) => ["-C", dirname(file), file.slice(dirname(file).length + 1)])], { maxBuffer: 1 << 28 });
    return this.run(`mkdir -p ${folder} && tar -x -C ${folder}`, { input: packed });
  }

  /** A property of the service, as systemd has it. */
  async property(name) {
    return (await this.run(`systemctl show -P ${name} siskin`)).trim();
  }

  /** Lets others in, as README says it; reads the secrets that the installation made. */
  async open(...settings) {
    const lines = ["SISKIN_LISTEN=0.0.0.0:8380", "SISKIN_TRUST_TOKEN_CLAIMS=true", ...settings];
    await this.run("sudo tee -a /etc/siskin/siskin.env >/dev/null && sudo systemctl restart siskin", { input: `${lines.join("\n")}\n` });
    this.secret = await this.run("sudo cat /etc/siskin/credentials/WEBUI_SECRET_KEY");
    this.apiKey = await this.run("sudo cat /etc/siskin/credentials/SISKIN_API_KEY");
    await this.isReady();
  }

  isReady() {
    const ready = () => fetch(`${this.url}/ready`, { signal: AbortSignal.timeout(20_000) }).then((answer) => answer.ok, () => sleep(200));
    return waitFor(ready, { seconds: LONG, what: "a ready siskin" });
  }

  token(id, name = id) {
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ id, name, role: "user" })}`;
    return `${signed}.${createHmac("sha256", this.secret).update(signed).digest("base64url")}`;
  }

  /** A request to the HTTP API, as the harness has it. */
  async api(method, path, body) {
    // A text is a row of lines.
    const lines = typeof body === "string";
    const headers = { authorization: `Bearer ${this.apiKey}`, "content-type": lines ? "application/x-ndjson" : "application/json" };
    const sent = lines ? body : body && JSON.stringify(body);
    const answer = await fetch(`${this.url}/api/v1${path}`, { method, headers, body: sent, signal: AbortSignal.timeout(300_000) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`, { headers: { authorization: `Bearer ${this.apiKey}` } })).text();
    return Number(text.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1] ?? 0);
  }
}
