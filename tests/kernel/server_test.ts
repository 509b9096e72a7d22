/** The daemon's plugin server: real client, real daemon, real kernel. */

import assert from "node:assert/strict";
import { libc } from "../../ffi/libc.ts";
import { expect, type Reply, run } from "./plugins.ts";
import { Netns } from "./sandbox.ts";
import { exists, ServerBench, SOCKET } from "./server_bench.ts";

libc(); // opened once and for good: inside the test it would count as a leak

/** A test with a bench, and a daemon that runs. */
function served(name: string, work: (bench: ServerBench) => Promise<void>): void {
  Deno.test({
    name: Deno.uid() === 0 ? `server: ${name}` : `server: ${name} (not run: needs root)`,
    ignore: Deno.uid() !== 0,
    fn: async () => {
      const bench = new ServerBench();
      try {
        await bench.startDaemon();
        await work(bench);
      } finally {
        await bench.close();
      }
    },
  });
}

served("a directory that others may enter is closed", async (bench) => {
  await bench.stopDaemon();
  Deno.chmodSync("/run/twill", 0o755);
  await bench.startDaemon();
  assert.equal((Deno.statSync("/run/twill").mode ?? 0) & 0o777, 0o700);
});

served("ADD, CHECK and DEL of a pod, without any process of ours", async (bench) => {
  // Without it a call that is not served fails.
  Deno.removeSync(`${bench.clients}/twill`);
  assert.equal((Deno.statSync(SOCKET).mode ?? 0) & 0o777, 0o600);
  assert.equal((Deno.statSync("/run/twill").mode ?? 0) & 0o777, 0o700);
  const pod = bench.namespace();
  const result = await bench.pod("ADD", "c1", pod);
  assert.equal(result.ips[0].address, "10.77.1.2/24");
  assert.deepEqual(bench.owners(), ["c1 eth0"]);
  assert.equal(bench.ports().length, 1);
  await bench.noRecords();
  await bench.pod("DEL", "c1", pod);
  assert.deepEqual([bench.owners(), bench.ports()], [[], []]);
  await bench.pod("DEL", "c1", pod);
});

served("STATUS says what /readyz says", async (bench) => {
  Deno.removeSync(`${bench.clients}/twill`);
  const status = (): Promise<Reply> =>
    bench.call({
      plugin: "flannel",
      dir: bench.clients,
      config: bench.config({ cniVersion: "1.1.0" }),
      env: { CNI_COMMAND: "STATUS", CNI_PATH: bench.clients },
    });
  // The client calls before the daemon has made its first pass, perhaps.
  const deadline = performance.now() + 20_000;
  while ((await status()).status !== 0) assert.ok(performance.now() < deadline, "never ready");
  await bench.stopDaemon("SIGTERM");
  bench.forgetNode();
  // What the last one wrote is still there.
  await bench.startDaemon();
  expect(await status(), { code: 50, words: ["not ready", "lease"] });
});

served("an error object comes with status 1, the log on stderr", async (bench) => {
  Deno.removeSync(`${bench.clients}/twill`);
  const reply = await bench.call({
    plugin: "flannel",
    dir: bench.clients,
    config: { ...bench.config(), subnetFile: "/nonexistent" },
    env: { CNI_COMMAND: "ADD", CNI_NETNS: "/run/netns/none", CNI_PATH: bench.clients },
  });
  expect(reply, { words: ["/nonexistent"] });
  const version = await bench.call({
    plugin: "bridge",
    dir: bench.clients,
    env: { CNI_COMMAND: "VERSION" },
  });
  assert.ok(JSON.parse(version.stdout).supportedVersions.includes("1.1.0"));
});

served("thirty pods at once, each with an address of its own", async (bench) => {
  Deno.removeSync(`${bench.clients}/twill`);
  const pods = Array.from({ length: 30 }, (_, n) => ({ id: `c${n}`, netns: bench.namespace() }));
  const results = await Promise.all(pods.map(({ id, netns }) => bench.pod("ADD", id, netns)));
  const addresses = new Set(results.map((result) => result.ips[0].address));
  assert.equal(addresses.size, pods.length);
  assert.equal(bench.ports().length, pods.length);
  await Promise.all(pods.map(({ id, netns }) => bench.pod("DEL", id, netns)));
  assert.deepEqual([bench.owners(), bench.ports(), bench.records()], [[], [], []]);
});

served(
  "calls of one pod keep their order; a stuck delegate holds up nobody else",
  async (bench) => {
    Deno.removeSync(`${bench.clients}/twill`);
    const stuck = `${bench.dir}/stuck`;
    Deno.mkdirSync(stuck);
    Deno.writeTextFileSync(
      `${stuck}/slow-ipam`,
      "#!/bin/sh\n[ $CNI_COMMAND = DEL ] || { sleep 3; exit 1; }\n",
      { mode: 0o755 },
    );
    const call = (command: string): Promise<Reply> =>
      bench.call({
        plugin: "bridge",
        dir: bench.clients,
        config: { cniVersion: "1.0.0", name: "slow", bridge: "cni0", ipam: { type: "slow-ipam" } },
        env: {
          CNI_COMMAND: command,
          CNI_CONTAINERID: "slow",
          CNI_NETNS: command === "ADD" ? bench.namespace() : "",
          CNI_PATH: `${stuck}:${bench.clients}`,
        },
      });
    const slow = call("ADD");
    const began = performance.now();
    await bench.pod("ADD", "c1", bench.namespace());
    const version = await bench.call({
      plugin: "bridge",
      dir: bench.clients,
      env: { CNI_COMMAND: "VERSION", CNI_CONTAINERID: "other" },
    });
    assert.equal(version.status, 0);
    assert.ok(performance.now() - began < 2_000);
    expect(await slow, { words: ["slow-ipam"] });
    expect(await call("DEL"), { ok: true });
  },
);

served("another network namespace is served by the full program", async (bench) => {
  using other = new Netns();
  const pod = bench.namespace();
  const call = other.inside(() =>
    bench.start({
      plugin: "flannel",
      dir: bench.clients,
      config: bench.config(),
      env: {
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: "far",
        CNI_NETNS: pod,
        CNI_PATH: bench.clients,
      },
    })
  );
  const { code, stderr } = await call.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.deepEqual(bench.ports(), [], "nothing in the daemon's namespace");
  assert.match(other.inside(() => run("ip", "link")), /cni0/);
});

served("SIGTERM: what runs is finished, the socket goes, calls go on without", async (bench) => {
  const pods = Array.from({ length: 8 }, (_, n) => ({ id: `t${n}`, netns: bench.namespace() }));
  const adding = pods.map(({ id, netns }) => bench.pod("ADD", id, netns));
  await bench.stopDaemon("SIGTERM");
  await Promise.all(adding);
  assert.equal(exists(SOCKET), false);
  assert.equal(bench.owners().length, pods.length);
  for (const { id, netns } of pods) await bench.pod("DEL", id, netns);
  assert.deepEqual([bench.owners(), bench.ports(), bench.records()], [[], [], []]);
});

served("taken over: what the record lists is taken back, what was there stays", async (bench) => {
  const pod = bench.namespace();
  const first = await bench.pod("ADD", "c1", pod);
  await bench.stopDaemon();
  // A daemon that ended in the middle of a second interface of the pod, and had made it all.
  const call = "0".repeat(32);
  const half = { CNI_IFNAME: "eth1" };
  await bench.pod("ADD", "c1", pod, half);
  Deno.mkdirSync("/run/twill/op", { recursive: true });
  Deno.writeTextFileSync("/run/twill/op/c1@eth1", `${call}\naddress\nlink\n`);
  const again = await bench.pod("ADD", "c1", pod, { ...half, TWILL_RESUME: call });
  assert.notEqual(again.ips[0].address, first.ips[0].address);
  assert.deepEqual(bench.owners(), ["c1 eth0", "c1 eth1"]);
  assert.equal(bench.ports().length, 2);
  // Another call's record says nothing about this one: the attachment stays, ADD is refused.
  Deno.writeTextFileSync("/run/twill/op/c1@eth1", `${"1".repeat(32)}\naddress\nlink\n`);
  const refused = await bench.call({
    plugin: "flannel",
    dir: bench.clients,
    config: bench.config(),
    env: {
      CNI_COMMAND: "ADD",
      CNI_NETNS: pod,
      CNI_IFNAME: "eth1",
      CNI_PATH: bench.clients,
      TWILL_RESUME: call,
    },
  });
  expect(refused, { words: ["already exists"] });
  assert.deepEqual(bench.owners(), ["c1 eth0", "c1 eth1"]);
  await bench.pod("DEL", "c1", pod, half);
  await bench.pod("DEL", "c1", pod);
  assert.deepEqual([bench.owners(), bench.ports(), bench.records()], [[], [], []]);
});

served("records that nobody can take over any more go with the next start", async (bench) => {
  await bench.stopDaemon();
  const [dir, before] = ["/run/twill/op", new Date(Date.now() - 200_000)];
  Deno.mkdirSync(dir, { recursive: true });
  for (const name of ["old@eth0", "held@eth0", "new@eth0"]) {
    Deno.writeTextFileSync(`${dir}/${name}`, `${"0".repeat(32)}\nlink\n`);
    if (name !== "new@eth0") Deno.utimeSync(`${dir}/${name}`, before, before);
  }
  using held = Deno.openSync(`${dir}/held@eth0`);
  held.lockSync(true);
  await bench.startDaemon();
  assert.deepEqual(bench.records(), ["held@eth0", "new@eth0"]);
});
