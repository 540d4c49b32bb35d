// nginx with the file that README gives (cross/nginx.conf), in front of these instances of siskin and Open WebUI.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, waitFor } from "../harness.mjs";

export async function startNginx(t, siskins, webui) {
  const [port, folder] = [await freePort(), mkdtempSync(join(tmpdir(), "siskin-nginx-"))];
  const ours = readFileSync(new URL("../../cross/nginx.conf", import.meta.url), "utf8")
    .replace("listen 80;", `listen 127.0.0.1:${port};`)
    .replace("server 127.0.0.1:8380;", siskins.map((each) => `server 127.0.0.1:${each};`).join(" "))
    .replace("server 127.0.0.1:8080;", `server 127.0.0.1:${webui};`);
  const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((what) => `${what}_temp_path ${folder}/${what};`).join(" ");
  const user = process.getuid() === 0 ? "user root;" : "";
  writeFileSync(join(folder, "nginx.conf"), `${user} worker_processes 1; daemon off; pid ${folder}/pid; events {} http { access_log off; ${folders}\n${ours}\n}`);
  const nginx = spawn("nginx", ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"], { stdio: ["ignore", "ignore", "inherit"] });
  const ended = new Promise((resolve) => nginx.once("exit", resolve));
  t.after(async () => (nginx.kill(), await ended, rmSync(folder, { recursive: true, force: true })));
  const listens = () => new Promise((resolve) => {
    const probe = connect(port, "127.0.0.1", () => (probe.destroy(), resolve(true))).on("error", () => resolve(false));
  });
  await waitFor(listens, { what: "nginx" });
  return { port };
}
