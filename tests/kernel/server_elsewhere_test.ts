/** The daemon in another mount namespace than the runtime, as in a container: what it serves. */

import assert from "node:assert/strict";
import { libc } from "../../ffi/libc.ts";
import { expect, type Reply, run, type Want } from "./plugins.ts";
import { ServerBench } from "./server_bench.ts";

libc(); // opened once and for good: inside the test it would count as a leak

const OK: Want = { ok: true };
/** The client found nobody to serve it, and no program beside it. */
const LEFT: Want = { code: 102, words: ["Cannot run twill"] };
const SUBNET_FILE = "/run/flannel/subnet.env";
const STATE = "/var/lib/cni";

/** Starts what follows where mounts of the node are seen, and its own are not. */
const SLAVE = ["unshare", "--mount", "--propagation", "slave"];

function inShell(commands: string, ...unshare: readonly string[]): string[] {
  return [...unshare, "sh", "-ec", `${commands}; exec "$@"`, "sh"];
}

interface Scene {
  /** Words before the daemon's. */
  readonly via: readonly string[];
  readonly config?: Readonly<Record<string, unknown>>;
  /** Whether the full program is there, for what is not served. */
  readonly whole?: boolean;
}

/** Runs flannel for one pod, with everything in the places that the DaemonSet has. */
function scene(
  name: string,
  { via, config = {}, whole = false }: Scene,
  work: (call: (command: string) => Promise<Reply>, bench: ServerBench) => Promise<void>,
): void {
  Deno.test({
    name: Deno.uid() === 0 ? `elsewhere: ${name}` : `elsewhere: ${name} (not run: needs root)`,
    ignore: Deno.uid() !== 0,
    fn: async () => {
      const bench = new ServerBench();
      // A state of this test alone, whatever the node has.
      Deno.mkdirSync(STATE, { recursive: true });
      run("mount", "-t", "tmpfs", "tmpfs", STATE);
      Deno.mkdirSync("/run/flannel", { recursive: true });
      try {
        // With its first namespace ip makes /run/netns a mount that others can follow.
        bench.namespace();
        await bench.startDaemon(undefined, { via, subnetFile: SUBNET_FILE });
        if (!whole) Deno.removeSync(`${bench.clients}/twill`);
        const netns = bench.namespace();
        const call = (command: string): Promise<Reply> =>
          bench.call({
            plugin: "flannel",
            dir: bench.clients,
            config: {
              ...bench.config(),
              ...{ subnetFile: undefined, dataDir: undefined, ipam: undefined },
              ...config,
            },
            env: { CNI_COMMAND: command, CNI_NETNS: netns, CNI_PATH: bench.clients },
          });
        await work(call, bench);
      } finally {
        await bench.close();
        run("umount", STATE);
        Deno.removeSync("/run/flannel", { recursive: true });
      }
    },
  });
}

scene("the same files on both sides: served", { via: SLAVE }, async (call, bench) => {
  const result = expect(await call("ADD"), OK);
  assert.equal(result.ips[0].address, "10.77.1.2/24");
  assert.equal(bench.ports().length, 1);
  await bench.noRecords();
  expect(await call("DEL"), OK);
  assert.deepEqual(bench.ports(), []);
  expect(await call("DEL"), OK);
});

const STRANGE: readonly (readonly [what: string, scene: Scene])[] = [
  ["another /var/lib/cni", { via: inShell(`mount -t tmpfs tmpfs ${STATE}`, ...SLAVE) }],
  ["a pod's namespace that the daemon does not see", {
    via: ["unshare", "--mount", "--propagation", "private"],
  }],
  ["another directory of records", { via: SLAVE, config: { dataDir: "/run/flannel-records" } }],
  ["another subnet file in the configuration", {
    via: SLAVE,
    config: { subnetFile: "/run/flannel/../flannel/subnet.env" },
  }],
  ["an address store elsewhere", { via: SLAVE, config: { ipam: { dataDir: "/run/networks" } } }],
  ["a relative path", { via: SLAVE, config: { ipam: { dataDir: "networks" } } }],
  ["a way out of the state", { via: SLAVE, config: { ipam: { dataDir: "/var/lib/cni/../x" } } }],
];
for (const [what, how] of STRANGE) {
  scene(`${what}: left to the client`, how, async (call, bench) => {
    expect(await call("ADD"), LEFT);
    assert.deepEqual(bench.ports(), []);
  });
}

scene("a record that names files elsewhere: DEL is left to the client", { via: SLAVE }, async (
  call,
  bench,
) => {
  expect(await call("ADD"), OK);
  const record = `${STATE}/flannel/c1`;
  const text = Deno.readTextFileSync(record);
  Deno.writeTextFileSync(record, text.replace('"host-local"', '"host-local","dataDir":"/run/x"'));
  expect(await call("DEL"), LEFT);
  Deno.writeTextFileSync(record, text);
  expect(await call("DEL"), OK);
  assert.deepEqual(bench.ports(), []);
});

scene("an IPAM of the node's: the client takes the call over", {
  via: SLAVE,
  whole: true,
  config: { ipam: { type: "my-ipam" } },
}, async (call, bench) => {
  const log = `${bench.dir}/ipam.log`;
  const answer = JSON.stringify({
    cniVersion: "0.3.1",
    ips: [{ version: "4", address: "10.77.1.9/24" }],
  });
  Deno.writeTextFileSync(
    `${bench.clients}/my-ipam`,
    `#!/bin/sh\necho "$CNI_COMMAND $(readlink /proc/self/ns/mnt)" >>${log}\n` +
      `[ $CNI_COMMAND != ADD ] || echo '${answer}'\n`,
    { mode: 0o755 },
  );
  const result = expect(await call("ADD"), OK);
  assert.equal(result.ips[0].address, "10.77.1.9/24");
  assert.equal(bench.ports().length, 1);
  await bench.noRecords();
  expect(await call("DEL"), OK);
  assert.deepEqual(bench.ports(), []);
  const here = Deno.readLinkSync("/proc/self/ns/mnt");
  const calls = Deno.readTextFileSync(log).trim().split("\n");
  assert.deepEqual([...new Set(calls.map((line) => line.split(" ")[1]))], [here]);
  assert.deepEqual([calls.at(-1), calls.includes(`ADD ${here}`)], [`DEL ${here}`, true]);
});

scene("a daemon that may not enter namespaces serves nothing, and pods start all the same", {
  via: ["setpriv", "--bounding-set", "-sys_admin"],
  whole: true,
}, async (call, bench) => {
  expect(await call("ADD"), OK);
  assert.equal(bench.ports().length, 1);
  Deno.removeSync(`${bench.clients}/twill`);
  expect(await call("DEL"), LEFT);
});
