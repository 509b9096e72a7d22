/**
 * The status page as people see it: a real daemon's, in a real browser. The picture of the last run
 * is `dist/status_page.png`.
 */

import assert from "node:assert/strict";
import { PageDesk } from "../../daemon/page/desk.ts";
import { serveHealth } from "../../daemon/health.ts";
import { DAEMON } from "../inspect/known.ts";
import { HEALTHY } from "../inspect/scene.ts";
import { type Output, run } from "./command.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT } from "./node.ts";
import { note } from "./notes.ts";
import type { Command } from "./space.ts";

const PICTURE = new URL("../../dist/status_page.png", import.meta.url).pathname;

/** A browser without a screen. */
function chromium(...flags: readonly string[]): Command {
  return [
    "chromium",
    "--headless",
    "--no-sandbox", // it refuses to run as root otherwise
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--user-data-dir=/run/chromium",
    ...flags,
  ];
}

/** What the browser has made of the page when this much of its time has passed, ms. */
function domOf({ code, stdout, stderr }: Output): string {
  assert.equal(code, 0, stderr);
  return stdout.replaceAll(/<(style|script)\b[^]*?<\/\1>/g, "");
}

const EVIL = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;

Deno.test("status page: a real daemon's, in a real browser, whatever a node is called", async () => {
  await using lab = await Lab.create({ nodes: ["worker", "worker2"], network: false });
  const [worker, worker2] = lab.nodes;
  const file = JSON.stringify({
    config: { Network: "10.244.0.0/16", Backend: { Type: "vxlan" } },
    nodes: [
      {
        name: "worker",
        subnet: "10.244.1.0/24",
        publicIP: worker!.address,
      },
      {
        name: EVIL,
        subnet: "10.244.2.0/24",
        publicIP: worker2!.address,
      },
    ],
  });
  worker!.write("/etc/leases.json", file);
  const flags = ["--lease-file=/etc/leases.json", "--iface=eth0", "--ip-masq"];
  try {
    await worker!.startDaemon({ flags: [...flags, `--healthz-port=${HEALTH_PORT}`] });
    await worker!.ready();
    await worker!.addPod("web");
    const url = `http://127.0.0.1:${HEALTH_PORT}/`;
    const began = performance.now();
    const dom = domOf(await worker!.exec(chromium("--dump-dom", url)));
    assert.match(dom, /<h1>worker: <span class="ok">ready<\/span><\/h1>/);
    for (const name of ["cni0", "flannel.1", "eth0", "veth[0-9a-f]+"]) {
      assert.match(dom, new RegExp(`<text [^>]*>${name}</text>`));
    }
    assert.match(dom, /<title>worker: twill<\/title>/, "no script of a node's name has run");
    assert.ok(dom.includes("<td>&lt;img src=x onerror="), dom);
    assert.doesNotMatch(dom, /<img/);
    const shot = chromium("--window-size=1100,1400", `--screenshot=${PICTURE}`, url);
    assert.equal((await worker!.exec(shot)).code, 0);
    const png = Deno.readFileSync(PICTURE);
    assert.deepEqual([...png.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
    assert.ok(png.length > 20_000, "a picture with something in it");
    note(`status page: two looks in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    // Another host is told that it is not shown to it; the socket shows it to root.
    const health = `http://${worker!.address}:${HEALTH_PORT}`;
    const refused = await worker2!.must(["curl", "-s", "-m30", "-w", "%{http_code}", `${health}/`]);
    assert.match(refused, /--status-page=all.*403$/);
    assert.match(await worker2!.must(["curl", "-s", "-m30", `${health}/healthz`]), /running/);
    const socket = ["--unix-socket", "/run/twill/status.sock"];
    const told = await worker!.must(["curl", "-s", "-m30", ...socket, "http://twill/"]);
    assert.match(told, /^<!doctype html>/);
    const rebound = ["curl", "-s", "-m30", "-H", "host: evil.example", "-w", "%{http_code}", url];
    assert.match(await worker!.must(rebound as unknown as Command), /403$/);
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});

Deno.test("status page: its script fetches it again, and says when nobody answers", async () => {
  const ending = new AbortController();
  let asked = 0;
  const status = (): typeof DAEMON => ({ ...DAEMON, reasons: asked++ === 0 ? ["a lease"] : [] });
  const desk = new PageDesk({ status, facts: () => HEALTHY });
  const none = (): Promise<Response> => Promise.resolve(new Response());
  const server = serveHealth(
    "127.0.0.1",
    0,
    {
      health: () => ({ reasons: [], remarks: [] }),
      metrics: () => "",
      arrival: none,
      trace: none,
      page: () => asked < 3 ? desk.answer() : Promise.resolve(new Response(null, { status: 503 })),
    },
    "loopback",
    ending.signal,
  );
  const url = `http://127.0.0.1:${(server.addr as Deno.NetAddr).port}/`;
  // The browser's clock runs as fast as it can.
  const dom = domOf(await run(chromium("--dump-dom", "--virtual-time-budget=20000", url)));
  assert.match(dom, /<span class="ok">ready</);
  assert.ok(asked >= 2, `asked ${asked} times`);
  assert.doesNotMatch(dom, /id="stale"[^>]* hidden/);
  ending.abort();
  await server.finished;
});
