/**
 * `twill inspect check` on nodes of the lab: nothing on a healthy one, and each fault that can be
 * seeded by its name, with what to do about it.
 */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { keyOf } from "./faults/oracle.ts";
import { device } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT, type Node, type Pod } from "./node.ts";

let lab: Lab;
let worker: Node;
let worker2: Node;
let pod: Pod;

Deno.test.beforeAll(async () => {
  lab = await Lab.create();
  // As in a node of kind; it drops nothing where ways are symmetric.
  for (const node of lab.nodes) await sh(node, "sysctl -qw net.ipv4.conf.all.rp_filter=1");
  await lab.startDaemons();
  [worker, worker2] = [lab.node("worker"), lab.node("worker2")];
  pod = await worker.addPod("web");
  await worker2.addPod("api");
});

Deno.test.afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
});

interface Checked {
  readonly code: number;
  /** `ID SUBJECT`, sorted. */
  readonly found: readonly string[];
  readonly text: string;
}

async function check(node: Node, ...flags: readonly string[]): Promise<Checked> {
  const port = `--health-port=${HEALTH_PORT}`;
  const { code, stdout, stderr } = await node.exec(
    ["twill", "inspect", "check", port, "-o", "json", ...flags],
  );
  assert.ok(code === 0 || code === 1, `exit status ${code}\n${stdout}${stderr}`);
  const { findings } = JSON.parse(stdout) as { findings: Record<string, string>[] };
  for (const { what, breaks, fix } of findings) assert.ok(what && breaks && fix, stdout);
  return {
    code,
    found: findings.map(({ id, subject }) => `${id} ${subject}`).sort(),
    text: stdout,
  };
}

function onLab(name: string, run: () => Promise<void>): void {
  Deno.test(`check: ${name}`, async () => {
    try {
      await run();
    } catch (cause) {
      throw new Error(explain(cause, lab), { cause });
    }
  });
}

const subnetOf = (node: Node): string => {
  const [, base] = /FLANNEL_SUBNET=([\d.]+)\.1\/24/.exec(node.read("/run/flannel/subnet.env")!)!;
  return `${base}.0`;
};

onLab("healthy nodes have no findings, also when all is tried with packets", async () => {
  for (const node of lab.nodes) {
    let last = "";
    // On a machine under load an echo may come late.
    const { code } = await until(`${node.name} has no findings`, async () => {
      const checked = await check(node, "--probe");
      last = checked.text;
      return checked.found.length === 0 && checked;
    }, { seconds: 60, explain: () => last });
    assert.equal(code, 0);
  }
});

/** A fault: how it is seeded on `worker`, what is found, and how it is taken back. */
interface Fault {
  readonly name: string;
  readonly flags?: readonly string[];
  /** On which node it is found; default `worker`. */
  readonly node?: () => Node;
  readonly seed: () => Promise<void>;
  readonly finds: () => readonly string[];
  readonly undo: () => Promise<void>;
}

const sh = (node: { must: Node["must"] }, script: string): Promise<string> =>
  node.must(["sh", "-ec", script]);

async function macOf(node: Node): Promise<string> {
  return (await device(node, "flannel.1"))!.address;
}

const FOREIGN = "/etc/cni/net.d/05-calico.conflist";
const SNAPSHOT = "/var/lib/twill/snapshot.json";
const RESERVED = "/var/lib/cni/networks/cbr0";
let remembered = "";

/** All of these while the daemon of `worker` is stopped: it would put most of them right at once. */
const FAULTS: readonly Fault[] = [
  {
    name: "1. missing FDB entry",
    seed: async () =>
      void await sh(
        worker,
        `bridge fdb del ${await macOf(worker2)} dev flannel.1 dst ${worker2.address}`,
      ),
    finds: () => [`no-fdb ${subnetOf(worker2)}/24`],
    undo: async () =>
      void await sh(
        worker,
        `bridge fdb append ${await macOf(worker2)} dev flannel.1 dst ${worker2.address}`,
      ),
  },
  {
    name: "2. wrong MAC address",
    seed: async () => void await sh(worker, neighbour("02:00:00:00:00:99")),
    finds: () => [`wrong-mac ${subnetOf(worker2)}/24`],
    undo: async () => void await sh(worker, neighbour(await macOf(worker2))),
  },
  {
    name: "3. stale route",
    seed: async () => void await sh(worker, `ip route add ${STALE}`),
    finds: () => ["stale-route 10.244.99.0/24"],
    undo: async () => void await sh(worker, `ip route del ${STALE}`),
  },
  {
    name: "4. MTU of the uplink too small",
    seed: async () => void await sh(worker, "ip link set eth0 mtu 1400"),
    finds: () => ["vtep-mtu flannel.1"],
    undo: async () => void await sh(worker, "ip link set eth0 mtu 1500"),
  },
  {
    name: "4. MTU between the nodes too small",
    flags: ["--probe"],
    seed: async () => void await sh(lab.wire, "ip link set worker2 mtu 1400"),
    finds: () => [`path-mtu ${subnetOf(worker2)}/24`],
    undo: async () => void await sh(lab.wire, "ip link set worker2 mtu 1500"),
  },
  {
    name: "5. UDP blocked between the nodes",
    flags: ["--probe"],
    seed: async () => void await sh(lab.wire, block("bridge", "forward")),
    finds: () =>
      lab.nodes.filter((node) => node !== worker).map((n) => `udp-blocked ${subnetOf(n)}/24`),
    undo: async () => void await sh(lab.wire, "nft delete table bridge block"),
  },
  {
    name: "5. UDP blocked by the other node itself",
    flags: ["--probe"],
    seed: async () => void await sh(worker2, block("ip", "input")),
    finds: () => [`vxlan-blocked ${subnetOf(worker2)}/24`],
    undo: async () => void await sh(worker2, "nft delete table ip block"),
  },
  {
    name: "6. foreign conflist first",
    seed: () =>
      Promise.resolve(worker.write(FOREIGN, '{"name":"k8s","plugins":[{"type":"calico"}]}')),
    finds: () => [`foreign-conflist ${FOREIGN}`],
    undo: async () => void await sh(worker, `rm ${FOREIGN}`),
  },
  {
    name: "7. rp_filter drops what comes in",
    seed: async () =>
      void await sh(
        worker,
        `ip link add eth1 type veth peer name eth1p; ip link set eth1 up; ip link set eth1p up
         ip route add ${worker2.address}/32 dev eth1`,
      ),
    finds: () => ["rp-filter eth0"],
    undo: async () => void await sh(worker, "ip link del eth1"),
  },
  {
    name: "8. ip_forward off",
    seed: async () => void await sh(worker, "sysctl -qw net.ipv4.ip_forward=0"),
    finds: () => ["no-forwarding net.ipv4.ip_forward"],
    undo: async () => void await sh(worker, "sysctl -qw net.ipv4.ip_forward=1"),
  },
  {
    name: "9. dropped nft rule",
    seed: async () => {
      const listing = await worker.must([
        "nft",
        "-a",
        "list",
        "chain",
        "inet",
        "twill",
        "postrouting",
      ]);
      const handle = /masquerade .* # handle (\d+)/.exec(listing)![1]!;
      await worker.must([
        "nft",
        "delete",
        "rule",
        "inet",
        "twill",
        "postrouting",
        "handle",
        handle,
      ]);
    },
    finds: () => ["rules-missing table inet twill"],
    undo: () => daemonAgain(),
  },
  {
    name: "10. duplicate public IP",
    node: () => lab.node("control-plane"),
    seed: async () => {
      const value = JSON.stringify({
        PublicIP: worker2.address,
        PublicIPv6: null,
        BackendType: "vxlan",
        BackendData: { VNI: 1, VtepMAC: "02:00:00:00:00:77" },
      });
      await lab.etcd.must("put", keyOf("10.244.77.0/24"), value);
    },
    finds: () => [`shared-public-ip ${subnetOf(worker2)}/24`, "shared-public-ip 10.244.77.0/24"],
    undo: async () => void await lab.etcd.must("del", keyOf("10.244.77.0/24")),
  },
  {
    name: "11. expired lease",
    seed: () => {
      remembered = worker.read(SNAPSHOT)!;
      const ends = `"ends": "${new Date(Date.now() - 1000).toISOString()}"`;
      const text = remembered.replace(/"ends": "[^"]+"/, ends);
      assert.notEqual(text, remembered);
      return Promise.resolve(worker.write(SNAPSHOT, text));
    },
    finds: () => [`lease-ended ${subnetOf(worker)}/24`],
    undo: () => Promise.resolve(worker.write(SNAPSHOT, remembered)),
  },
  {
    name: "12. full IPAM",
    seed: async () => {
      const base = subnetOf(worker).replace(/0$/, "");
      await sh(worker, `for i in $(seq 2 254); do echo x >> ${RESERVED}/${base}$i; done`);
    },
    finds: () => [`ipam-full ${subnetOf(worker)}/24`],
    undo: async () => {
      const keep = pod.ip;
      await sh(worker, `cd ${RESERVED}; for f in 10.*; do [ $f = ${keep} ] || rm $f; done`);
    },
  },
];

const STALE = "10.244.99.0/24 via 10.244.99.0 dev flannel.1 onlink proto 146";

function neighbour(mac: string): string {
  return `ip neighbour replace ${subnetOf(worker2)} lladdr ${mac} dev flannel.1 nud permanent`;
}

/** Drops VXLAN as a firewall does. */
function block(family: string, hook: string): string {
  return `nft -f - <<'END'
table ${family} block {
  chain c {
    type filter hook ${hook} priority 0
    udp dport 8472 drop
  }
}
END`;
}

async function daemonAgain(): Promise<void> {
  await worker.startDaemon({ flags: lab.flags });
  await worker.ready();
  await lab.knowsPeers(worker);
  await worker.daemon!.stop("SIGTERM");
}

onLab("a stopped daemon is found, and nothing else", async () => {
  // The file is written a moment after a change.
  await until("the leases are remembered", () => worker.read(SNAPSHOT)?.includes(worker2.address));
  await worker.daemon!.stop("SIGTERM");
  assert.deepEqual((await check(worker)).found, ["daemon-silent daemon"]);
});

for (const { name, flags = [], node, seed, finds, undo } of FAULTS) {
  onLab(name, async () => {
    const place = node?.() ?? worker;
    const quiet = place === worker ? ["daemon-silent daemon"] : [];
    await seed();
    try {
      const { code } = await until("the fault is found", async () => {
        const checked = await check(place, ...flags);
        return finds().every((one) => checked.found.includes(one)) && checked;
      }, { explain: () => `want ${finds()}` });
      assert.equal(code, 1);
    } finally {
      await undo();
    }
    await until("nothing is left", async () => {
      const { found } = await check(place, ...flags);
      return JSON.stringify(found) === JSON.stringify(quiet);
    });
  });
}
