/** Delegation of our plugins to each other: in one process or in several, it must look the same. */

import assert from "node:assert/strict";
import { FlannelBench, OK } from "./flannel_bench.ts";
import { expect } from "./plugins.ts";

/** A directory whose plugins are scripts, which call the ones under test. */
function wrap(bench: FlannelBench): string {
  const dir = `${bench.dir}/wrapped`;
  Deno.mkdirSync(dir);
  for (const name of ["bridge", "host-local"]) {
    const script =
      `#!/bin/sh\necho "$CNI_COMMAND ${name}" >>"$LOG/calls"\nexec ${bench.plugins}/${name}\n`;
    Deno.writeTextFileSync(`${dir}/${name}`, script, { mode: 0o755 });
  }
  return dir;
}

/** A whole life of a pod; MAC addresses and random names are left out. */
async function life(bench: FlannelBench, path: string): Promise<unknown[]> {
  const pod = bench.pod();
  const config = {
    cniVersion: "1.1.0",
    ipam: { dataDir: `${bench.dir}/ipam` },
    delegate: { bridge: "twill-t0", isDefaultGateway: true },
  };
  const env = { CNI_NETNS: pod, CNI_PATH: path };
  const said: unknown[] = [];
  const call = async (command: string, more: object = {}): Promise<string> => {
    const { status, stdout, stderr } = await bench.flannel(command, { ...config, ...more }, env);
    const plain = stdout.replaceAll(pod, "POD")
      .replace(/"mac": "[0-9a-f:]+"|veth[0-9a-f]{8}/g, "…").replaceAll(path, "PATH");
    said.push([command, status, plain, stderr]);
    return stdout;
  };
  const prevResult = JSON.parse(await call("ADD"));
  await call("ADD");
  await call("CHECK", { prevResult });
  await call("STATUS");
  await call("GC", { "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] });
  await call("DEL");
  await call("CHECK", { prevResult });
  await call("ADD", { ipam: { ...config.ipam, type: "nonesuch" } });
  await call("DEL");
  return said;
}

Deno.test("delegation: inside one process and between several, the answers are the same", async () => {
  const runs: unknown[][] = [];
  for (const outside of [false, true]) {
    using bench = new FlannelBench();
    using cleanUp = new DisposableStack();
    cleanUp.defer(() => {
      new Deno.Command("ip", { args: ["link", "delete", "twill-t0"] }).outputSync();
    });
    runs.push(await life(bench, outside ? wrap(bench) : bench.plugins));
    const calls = `${bench.log}/calls`;
    assert.equal(outside, [...Deno.readDirSync(bench.log)].length > 0);
    if (outside) assert.match(Deno.readTextFileSync(calls), /^ADD bridge\nADD host-local\n/);
  }
  assert.deepEqual(runs[0], runs[1]);
  assert.deepEqual(runs[0]?.map((said) => (said as unknown[])[1]), [0, 1, 0, 0, 0, 0, 0, 1, 1]);
});

Deno.test("delegation: a file that is being written is tried again", async () => {
  using bench = new FlannelBench();
  const file = Deno.openSync(`${bench.dir}/delegates/bridge`, { append: true });
  const reply = bench.flannel("ADD");
  await new Promise((resolve) => setTimeout(resolve, 300));
  file.close();
  expect(await reply, OK);
});

Deno.test("delegation: the first directory of CNI_PATH wins, and what is no file is passed over", async () => {
  using bench = new FlannelBench();
  Deno.mkdirSync(`${bench.dir}/first/bridge`, { recursive: true });
  const env = { CNI_PATH: `${bench.dir}/nonexistent:${bench.dir}/first::${bench.dir}/delegates` };
  expect(await bench.flannel("ADD", {}, env), OK);
});

Deno.test("delegation: a plugin's name is no path", async () => {
  using bench = new FlannelBench();
  const delegate = { type: "../delegates/bridge" };
  expect(await bench.flannel("ADD", { delegate }), { words: ["invalid plugin name"] });
});

Deno.test("delegation: a delegate that prints no result", async () => {
  using bench = new FlannelBench();
  const script = (body: string): void =>
    Deno.writeTextFileSync(`${bench.dir}/delegates/bridge`, `#!/bin/sh\n${body}\n`);
  script("echo hello; echo careful >&2");
  const reply = await bench.flannel("ADD");
  expect(reply, { words: ["hello"] });
  assert.equal(reply.stderr, "careful\n");
  script("echo null");
  assert.deepEqual(expect(await bench.flannel("ADD"), OK), { cniVersion: "1.0.0" });
  script("kill -9 $$");
  expect(await bench.flannel("ADD"), { words: ["SIGKILL"] });
});

Deno.test("delegation: a result in another version is converted", async () => {
  using bench = new FlannelBench();
  const old = '{"cniVersion":"0.2.0","ip4":{"ip":"10.1.17.5/24"}}';
  Deno.writeTextFileSync(`${bench.dir}/delegates/bridge`, `#!/bin/sh\necho '${old}'\n`);
  assert.deepEqual(expect(await bench.flannel("ADD"), OK), {
    cniVersion: "1.0.0",
    ips: [{ address: "10.1.17.5/24" }],
  });
});
