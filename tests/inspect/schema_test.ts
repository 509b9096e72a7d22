import assert from "node:assert/strict";
import { formatNodeStatus } from "../../engine/node_status.ts";
import { answers, DAEMON, lease, MEMORY } from "./known.ts";
import { nodeOf, podParts } from "./pods_scene.ts";
import { errors, load } from "./schema.ts";
import {
  ENV_DUAL,
  fdb,
  HEALTHY,
  inspect,
  NOW,
  peer,
  peer6,
  route,
  type Scene,
  vtep6,
} from "./scene.ts";

const SCENES: Readonly<Record<string, Scene>> = {
  "a healthy node": {},
  "both families": {
    facts: [...HEALTHY, ...vtep6(), ...peer6(2)],
    files: { "/run/flannel/subnet.env": ENV_DUAL },
  },
  "faults of every kind of entry": {
    facts: [
      ...HEALTHY,
      ...peer(4).slice(0, 1),
      ...peer(5).slice(1),
      ...peer(6).slice(0, 2),
      fdb("flannel.1", "02:00:00:00:09:04", "192.0.2.9"),
      route("10.244.9.0/24", "eth0", { gateway: "192.0.2.9", protocol: 4 }),
      route("10.244.0.0/16", undefined, { blackhole: true }),
    ],
  },
  "a daemon with a bad record and a peer that is not programmed": {
    status: answers({
      ...DAEMON,
      store: { ...DAEMON.store, bad: [{ who: "k", reason: "r" }] },
      leases: { ...MEMORY, leases: [...MEMORY.leases, lease(4)] },
    }),
  },
  "pods with and without all that is known": nodeOf(podParts(2, "default/web"), podParts(3), {
    ...podParts(4),
    host: [],
    namespaces: {},
  }),
  "rules of others": {
    rules: {
      nft:
        "table inet x {\n\tchain c {\n\t\ttype filter hook forward priority filter; policy drop;\n" +
        '\t\ttcp dport 80 accept comment "c"\n\t}\n}\n',
      legacy: { ip: "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n" },
    },
  },
  "nothing at all": { facts: [], files: {} },
};

for (
  const command of [
    "status",
    "subnet",
    "routes --all",
    "peers",
    "leases",
    "pods",
    "rules --all",
    "check",
    "diagram",
    "explain",
    "explain mtu",
    "explain peers",
  ]
) {
  const [kind] = command.split(" ");
  for (const [name, scene] of Object.entries(SCENES)) {
    Deno.test(`schema: ${command} of ${name} is as docs/schema says`, async () => {
      const schema = load(`inspect_${kind}.json`);
      const { stdout } = await inspect(`${command} -o json`, scene);
      assert.deepEqual(errors(schema, JSON.parse(stdout), kind!), []);
    });
  }
}

Deno.test("schema: what the status socket answers is as docs/schema says", () => {
  const full = {
    ...DAEMON,
    store: { ...DAEMON.store, problem: "p", remembered: NOW, bad: [{ who: "k", reason: "r" }] },
    plugins: { ...DAEMON.plugins, left: { "another build": 1 } },
    policy: {
      ...DAEMON.policy,
      state: "degraded" as const,
      reasons: ["no rights"],
      held: ["10.0.0.1"],
      faults: [{ policy: "x/p", reason: "odd" }],
    },
  };
  const { uplink: _, leases: __, pass: ___, ...first } = DAEMON;
  for (const status of [DAEMON, full, first]) {
    const document = JSON.parse(formatNodeStatus(status));
    assert.deepEqual(errors(load("daemon_status.json"), document, "daemon"), []);
  }
});
