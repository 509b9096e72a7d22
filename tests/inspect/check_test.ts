import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import { parseMac } from "../../engine/mac.ts";
import type { CheckTools } from "../../inspect/check/tools.ts";
import type { EchoAnswer } from "../../ffi/echo.ts";
import { CONFLIST, FACTS, lease, NOW, scene, sysctl } from "./check_scene.ts";
import { fdb, inspect, link, neighbour, route, type Scene, uplink } from "./scene.ts";

/** The findings of `check`, as `SUBJECT ID`. */
async function findings(on: Scene): Promise<string[]> {
  const { stdout } = await inspect("check -o json", on);
  return JSON.parse(stdout).findings.map((one: Record<string, string>) =>
    `${one.subject} ${one.id}`
  );
}

Deno.test("check: a healthy node is fine", async (t) => {
  const outcome = await inspect("check", scene());
  assert.equal(outcome.code, 0, outcome.stdout);
  assert.equal(outcome.stderr, "");
  await t.assertSnapshot(outcome.stdout);
});

const without = (gone: (fact: Fact) => boolean) => (facts: readonly Fact[]): Fact[] =>
  facts.filter((fact) => !gone(fact));
const isFdb = (fact: Fact): boolean => fact.kind === "fdb" && fact.remote === "192.0.2.2";
const setting = (key: string, value: string) => (facts: readonly Fact[]): Fact[] => [
  ...facts.filter((fact) => fact.kind !== "sysctl" || fact.key !== key),
  sysctl(key, value),
];
const full = Object.fromEntries(
  Array.from({ length: 253 }, (_, i) => [`/var/lib/cni/networks/cbr0/10.244.1.${i + 2}`, "x"]),
);
const foreign = JSON.stringify({ name: "k8s-pod-network", plugins: [{ type: "calico" }] });

/** The faults that one can seed, and what must be said about them. */
const FAULTS: Readonly<Record<string, readonly [on: Scene, findings: readonly string[]]>> = {
  "missing FDB entry": [scene({ facts: without(isFdb) }), ["10.244.2.0/24 no-fdb"]],
  "wrong MAC address, in both tables": [
    scene({
      facts: (all) => [
        ...all.filter((fact) =>
          !isFdb(fact) && !(fact.kind === "neighbour" && fact.ip === "10.244.2.0")
        ),
        neighbour("flannel.1", "10.244.2.0", "02:00:00:00:99:04"),
        fdb("flannel.1", "02:00:00:00:99:04", "192.0.2.2"),
      ],
    }),
    ["10.244.2.0/24 wrong-mac", "10.244.2.0/24 no-fdb", "02:00:00:00:99:04 stale-fdb"],
  ],
  "an own MAC address that is not the published one": [
    scene({
      facts: (all) =>
        all.map((fact) =>
          fact.kind === "link" && fact.name === "flannel.1"
            ? { ...fact, mac: parseMac("02:00:00:00:77:04") }
            : fact
        ),
    }),
    ["flannel.1 wrong-mac"],
  ],
  "stale route": [
    scene({
      facts: (all) => [
        ...all,
        route("10.244.9.0/24", "flannel.1", { gateway: "10.244.9.0", onlink: true, protocol: 146 }),
      ],
    }),
    ["10.244.9.0/24 stale-route"],
  ],
  "uplink's MTU too small": [
    scene({
      facts: (all) => [...all.filter((f) => !isUplink(f)), ...uplink(1400)],
    }),
    ["flannel.1 vtep-mtu"],
  ],
  "foreign conflist first": [
    scene({ files: { "/etc/cni/net.d/05-calico.conflist": foreign } }),
    ["/etc/cni/net.d/05-calico.conflist foreign-conflist"],
  ],
  "no conflist": [
    scene({ files: { "/etc/cni/net.d/10-flannel.conflist": undefined } }),
    ["/etc/cni/net.d no-conflist"],
  ],
  "damaged conflist": [
    scene({ files: { "/etc/cni/net.d/00-x.conf": "{" } }),
    ["/etc/cni/net.d/00-x.conf bad-conflist"],
  ],
  "no bridge plugin": [
    scene({ files: { "/opt/cni/bin/bridge": undefined } }),
    ["bridge no-plugin"],
  ],
  "rp_filter strict, and an asymmetric way": [
    scene({
      facts: (all) => [
        ...setting("net/ipv4/conf/all/rp_filter", "1")(all),
        ...link("eth1", 1500, ""),
        route("192.0.2.2/32", "eth1"),
      ],
    }),
    ["eth0 rp-filter"],
  ],
  "rp_filter strict, and no route back": [
    scene({
      facts: (all) =>
        setting("net/ipv4/conf/all/rp_filter", "1")(
          all.filter((f) => f.kind !== "route" || f.dst !== "10.244.2.0/24"),
        ),
    }),
    ["flannel.1 rp-filter", "10.244.2.0/24 no-route"],
  ],
  "ip_forward off": [
    scene({ facts: setting("net/ipv4/ip_forward", "0") }),
    ["net.ipv4.ip_forward no-forwarding"],
  ],
  "bridged packets pass by the rules": [
    scene({ facts: setting("net/bridge/bridge-nf-call-iptables", "0") }),
    ["net.bridge.bridge-nf-call-iptables no-br-netfilter"],
  ],
  "br_netfilter missing": [
    scene({ facts: without((f) => f.kind === "sysctl" && f.key.startsWith("net/bridge/")) }),
    ["br_netfilter no-br-netfilter"],
  ],
  "one rule dropped": [
    scene({
      facts: (all) =>
        all.map((fact) =>
          fact.kind === "rules"
            ? {
              ...fact,
              text: fact.text.split("\n").filter((l) => !/masquerade.*leave/.test(l)).join("\n"),
            }
            : fact
        ),
    }),
    ["table inet twill rules-missing"],
  ],
  "table dropped": [
    scene({ facts: without((f) => f.kind === "rules") }),
    ["table inet twill rules-missing"],
  ],
  "duplicate public IP": [
    scene({ memory: { leases: [lease(1), lease(2), lease(3), lease(4, "192.0.2.1")] } }),
    ["10.244.1.0/24 shared-public-ip", "10.244.4.0/24 shared-public-ip"],
  ],
  "expired lease": [
    scene({ memory: { ends: NOW - 1000 } }),
    ["10.244.1.0/24 lease-ended"],
  ],
  "clock went back": [scene({ memory: { at: NOW + 3_600_000 } }), ["clock clock"]],
  "full IPAM": [scene({ files: full }), ["10.244.1.0/24 ipam-full"]],
  "no daemon": [scene({ daemon: false }), ["daemon daemon-silent"]],
  "daemon not ready": [
    scene({ daemon: { reasons: ["store etcd does not answer"] } }),
    ["daemon daemon-not-ready"],
  ],
  "device down": [
    scene({
      facts: (all) =>
        all.map((f) => f.kind === "up" && f.dev === "flannel.1" ? { ...f, up: false } : f),
    }),
    ["flannel.1 device-down"],
  ],
};

function isUplink(fact: Fact): boolean {
  const name = fact.kind === "link" ? fact.name : "dev" in fact ? fact.dev : undefined;
  return name === "eth0";
}

for (const [name, [on, expected]] of Object.entries(FAULTS)) {
  Deno.test(`check: ${name}`, async (t) => {
    assert.deepEqual((await findings(on)).sort(), [...expected].sort());
    const text = await inspect("check --no-headers", on);
    assert.equal(text.code, 1);
    await t.assertSnapshot(text.stderr);
  });
}

Deno.test("check: what the kernel refuses is named, before the install too", async () => {
  const bare = {
    facts: uplink(),
    files: {},
    tools: {
      features: () => [{ name: "vxlan", refused: "Operation not supported" }, { name: "bridge" }],
    },
  };
  const outcome = await inspect("check -o json", bare);
  const { installed, findings } = JSON.parse(outcome.stdout);
  assert.equal(installed, false);
  assert.deepEqual(
    findings.map(({ subject, id }: Record<string, string>) => `${subject} ${id}`),
    ["vxlan no-kernel-feature", "br_netfilter no-br-netfilter"],
  );
  assert.equal(outcome.code, 1);
});

Deno.test("check: before the install, a network that would stay first is found", async () => {
  const files = (name: string): Record<string, string> => ({ [`/etc/cni/net.d/${name}`]: foreign });
  const facts = [...uplink(), sysctl("net/bridge/bridge-nf-call-iptables", "1")];
  const before = await inspect("check -o json", { facts, files: files("05-calico.conflist") });
  assert.match(before.stdout, /"id": "foreign-conflist"/);
  const behind = await inspect("check -o json", { facts, files: files("20-calico.conflist") });
  assert.deepEqual(JSON.parse(behind.stdout).findings, []);
});

Deno.test("check: a flannel node, without leases to compare with, is judged by its tables", async () => {
  const on = scene({ daemon: false, files: { "/var/lib/twill/snapshot.json": undefined } });
  const outcome = await inspect("check -o json", on);
  assert.deepEqual(JSON.parse(outcome.stdout).findings, []);
  // Duplicate addresses and the end of the lease cannot be told.
  assert.equal(outcome.code, 3);
  const broken = { ...on, facts: FACTS.filter((fact) => !isFdb(fact)) };
  assert.deepEqual(await findings(broken), ["10.244.2.0/24 no-fdb"]);
});

Deno.test("check: what is forbidden to read is unknown, with what to do", async () => {
  const files = {
    "/var/lib/twill/snapshot.json": () => {
      throw new Deno.errors.PermissionDenied("permission denied");
    },
    "/etc/cni/net.d/10-flannel.conflist": CONFLIST,
  };
  const outcome = await inspect("check -o json", {
    ...scene(),
    files: { ...scene().files, ...files },
  });
  assert.equal(outcome.code, 3);
  assert.match(outcome.stdout, /permission denied/);
});

/** Peers 2 and 3 that answer as told: by address and size. */
function answering(answers: (to: string, size: number) => EchoAnswer): Partial<CheckTools> {
  return {
    echoes: (all) => Promise.resolve(all.map(({ to, size }) => answers(to, size))),
    answersTcp: () => Promise.resolve(true),
  };
}

const only = (silent: string) =>
  answering((to) => to === silent ? "silent" as const : "answered" as const);

/** What comes back from packets, and what must be said about it. */
const PROBES: Readonly<Record<string, readonly [tools: Partial<CheckTools>, findings: string[]]>> =
  {
    "all peers answer": [answering(() => "answered"), []],
    "UDP arrives, VXLAN does not": [
      {
        ...only("10.244.2.0"),
        page: () => Promise.resolve('{"schema":1,"seen":true,"port":8472,"dev":"eth0"}'),
      },
      ["10.244.2.0/24 vxlan-blocked"],
    ],
    "UDP blocked": [
      { ...only("10.244.2.0"), page: () => Promise.resolve('{"schema":1,"seen":false}') },
      ["10.244.2.0/24 udp-blocked"],
    ],
    "peer is flannel": [only("10.244.2.0"), ["10.244.2.0/24 overlay-silent"]],
    "somebody else's page": [
      { ...only("10.244.2.0"), page: () => Promise.resolve("<html>") },
      ["10.244.2.0/24 overlay-silent"],
    ],
    "node is gone": [
      answering((to) => to.endsWith(".2") || to === "10.244.2.0" ? "silent" : "answered"),
      ["10.244.2.0/24 node-silent"],
    ],
    "path MTU": [
      answering((to, size) => to === "10.244.2.0" && size > 1337 ? "silent" : "answered"),
      ["10.244.2.0/24 path-mtu"],
    ],
    "checksums": [
      { ...answering(() => "answered"), answersTcp: (to) => Promise.resolve(to !== "10.244.2.0") },
      ["10.244.2.0/24 checksum-offload"],
    ],
  };

for (const [name, [tools, expected]] of Object.entries(PROBES)) {
  Deno.test(`check --probe: ${name}`, async (t) => {
    const on = scene({ tools });
    const { stdout, code } = await inspect("check --probe -o json", on);
    const { findings } = JSON.parse(stdout);
    assert.deepEqual(
      findings.map(({ subject, id }: Record<string, string>) => `${subject} ${id}`),
      expected,
    );
    assert.equal(code, expected.length > 0 ? 1 : 0);
    await t.assertSnapshot((await inspect("check --probe --no-headers", on)).stderr);
  });
}

Deno.test("check: without --probe nothing is sent", async () => {
  const never = (): never => {
    throw new Error("a packet was sent");
  };
  const tools = { echoes: never, sendProbe: never, page: never, answersTcp: never };
  assert.equal((await inspect("check", scene({ tools }))).code, 0);
});

Deno.test("check --health-port: a port is a number", async () => {
  const { code, stderr } = await inspect("check --health-port 70000", scene());
  assert.equal(code, 2);
  assert.match(stderr, /want 1 to 65535/);
});
