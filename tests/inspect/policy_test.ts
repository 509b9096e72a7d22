import assert from "node:assert/strict";
import { parseIp } from "../../engine/ip.ts";
import { formatPolicySnapshot } from "../../engine/policy/snapshot.ts";
import type { Cluster } from "../../engine/policy/model.ts";
import { CASES } from "../engine/policy/cases.ts";
import { expectation, Scene as Cases } from "../engine/policy/language.ts";
import { answers } from "./known.ts";
import { nodeOf, podParts } from "./pods_scene.ts";
import { clusterAfter, known, listed, policyScene } from "./policy_scene.ts";
import { errors, load } from "./schema.ts";
import { inspect, type Scene } from "./scene.ts";

// deno-lint-ignore no-explicit-any -- JSON; the schema is checked
async function json(line: string, scene: Scene): Promise<any> {
  const { code, stdout, stderr } = await inspect(`${line} -o json`, scene);
  const document = JSON.parse(stdout);
  const [, kind] = line.split(" ");
  assert.deepEqual(errors(load(`inspect_policy_${kind}.json`), document, kind!), []);
  return { code, stderr, ...document };
}

const CLOSED = clusterAfter(
  "x/p on pod=a types Ingress; in: P(pod=b) @ TCP/80 ; IP(10.0.0.0/8 except 10.244.0.0/16) @ any port",
  "x/q on all types Egress; out: N(ns=y) @ TCP/80, UDP/53",
);

for (
  const [what, words, allowed, egress, ingress] of [
    ["both ends have a rule", "x/b y/a 80", true, "x/q egress[0]: to all pods in n", "no policy"],
    [
      "a rule by its number",
      "10.1.2.3 x/a 80",
      true,
      "no pod",
      "x/p ingress[1]: from 10.0.0.0/8 e",
    ],
    [
      "no rule at the source",
      "x/b y/a 81",
      false,
      "isolated by x/q; no rule",
      "no policy isolates",
    ],
    ["no rule at the destination", "y/a x/a 80", false, "no policy", "isolated by x/p; no rule"],
    ["another protocol", "x/b y/a 80/UDP", false, "isolated by x/q", "no policy"],
    ["protocol first", "x/b y/a udp/53", true, "x/q egress[0]", "no policy"],
    ["ICMP", "x/b y/a icmp", false, "isolated by x/q", "no policy"],
    ["addresses of pods", "10.244.2.10 10.244.1.20 80", true, "x/q egress[0]", "no policy"],
    ["IPv6", "fd00:10:244:2::10 fd00:10:244:1::10 80", false, "x/q", "x/p ingress[0]"],
  ] as const
) {
  Deno.test(`policy can: ${what}: ${words}`, async () => {
    const { code, allowed: got, items, findings } = await json(
      `policy can ${words}`,
      policyScene(CLOSED),
    );
    assert.deepEqual([code, got], [allowed ? 0 : 1, allowed]);
    assert.ok(items[0].egress.words.includes(egress), items[0].egress.words);
    assert.ok(items[0].ingress.words.includes(ingress), items[0].ingress.words);
    assert.equal(items[0].kernel, "agrees");
    assert.deepEqual(findings, []);
  });
}

/** Blocks of addresses in the cases are of IPv4; a pair that is denied in one family is denied. */
function onlyIpv4(cluster: Cluster): Cluster {
  const pods = cluster.pods.map((pod) => ({ ...pod, ips: pod.ips.slice(0, 1) }));
  return { ...cluster, pods };
}

/** The long form takes them all. */
const TAKEN = Deno.env.get("TWILL_FULL") === "1" ? CASES : CASES.filter((_, i) => i % 4 === 1);

for (const { id, steps } of TAKEN) {
  Deno.test(`policy matrix: ${id} as the table of cases says`, async () => {
    const cases = new Cases();
    const deeds: string[] = [];
    for (const { deeds: more, expect } of steps) {
      for (const deed of more) {
        deeds.push(deed);
        cases.do(deed);
      }
      for (const { protocol, port, open } of expect.map(expectation)) {
        const { pods, combined } = await json(
          `policy matrix --port ${port}/${protocol}`,
          policyScene(onlyIpv4(clusterAfter(...deeds))),
        );
        const want = pods.map((from: string) =>
          pods.map((to: string) => from === to || open(from, to) ? "." : "X").join("")
        );
        assert.deepEqual(combined, want, `${protocol}/${port}`);
      }
    }
  });
}

Deno.test("policy matrix: a table with numbers, one namespace, one direction", async () => {
  const { code, stdout } = await inspect(
    "policy matrix -n x --direction egress",
    policyScene(CLOSED),
  );
  assert.equal(code, 0);
  assert.equal(stdout, "        1 2 3\n1  x/a  . X X\n2  x/b  X . X\n3  x/c  X X .\n");
});

Deno.test("policy show: rules by number, who is meant now, and the kernel has it", async () => {
  const { code, item, findings } = await json("policy show x/a", policyScene(CLOSED));
  assert.equal(code, 0);
  assert.deepEqual(item.ips, ["10.244.1.10", "fd00:10:244:1::10"]);
  assert.deepEqual(item.kernel, { state: "programmed", differences: [] });
  assert.deepEqual(item.ingress.policies, [{
    policy: "x/p",
    fault: null,
    rules: [
      { rule: 0, peers: ["pods pod=b in namespace x"], ports: ["TCP 80"], now: ["x/b"] },
      { rule: 1, peers: ["10.0.0.0/8 except 10.244.0.0/16"], ports: null, now: [] },
    ],
  }]);
  assert.deepEqual(item.egress.policies[0].rules[0].now, ["y/a", "y/b", "y/c"]);
  assert.deepEqual(findings, []);
  const { stdout } = await inspect("policy show x/a", policyScene(CLOSED));
  assert.match(stdout, /^pod x\/a, 10\.244\.1\.10, /);
  assert.match(stdout, /kernel: programmed\n$/);
  const open = await inspect("policy show y/a", policyScene(CLOSED));
  assert.match(open.stdout, /ingress: not isolated/);
  const away = await json("policy show x/b", policyScene(CLOSED));
  assert.equal(away.item.kernel.state, "elsewhere");
});

for (
  const [what, change, want] of [
    [
      "an element less",
      (t: string) => t.replace(/10\.244\.2\.10(?= \})/, "10.244.2.99"),
      /lacks 10\.2/,
    ],
    [
      "a rule less",
      (t: string) => t.replace(/\t\tip saddr @peers4.*\n/, ""),
      /in\/x\/p has 2 rules, want 3/,
    ],
    ["no table", () => "", /the kernel has no table of policies/],
    [
      "another chain",
      (t: string) => t.replace(/10\.244\.1\.10 : goto in-\w+/, "10.244.1.10 : goto unknown"),
      /map to4 has chain unknown for 10\.244\.1\.10/,
    ],
  ] as const
) {
  Deno.test(`policy show: the kernel has ${what}`, async () => {
    const scene = { ...policyScene(CLOSED), policyTable: change(listed(CLOSED)) };
    const { code, item } = await json("policy show x/a", scene);
    assert.equal(code, 1);
    assert.equal(item.kernel.state, "differs");
    assert.match(item.kernel.differences.join("; "), want);
  });
}

Deno.test("policy can: what the kernel does otherwise is a finding", async () => {
  const scene = { ...policyScene(CLOSED), policyTable: listed(clusterAfter()) };
  const { code, allowed, findings } = await json("policy can y/a x/a 80", scene);
  assert.deepEqual([code, allowed, findings[0].id], [1, false, "kernel-differs"]);
});

Deno.test("policy: an address that is held is closed, whatever policies say", async () => {
  const held = [parseIp("10.244.1.20")];
  const scene = policyScene(clusterAfter(), { held });
  const { allowed, items } = await json("policy can x/a 10.244.1.20 80", scene);
  assert.equal(allowed, false);
  assert.match(items[0].ingress.words, /until the pod of 10\.244\.1\.20 is known/);
  assert.equal(items[0].kernel, "agrees");
  const { item } = await json("policy show y/a", scene);
  assert.deepEqual(item.held, held);
});

Deno.test("policy can: a node reaches its own pods", async () => {
  const host = (node: string) => ({
    ...CLOSED.pods[0]!,
    name: `host-${node}`,
    node,
    hostNetwork: true,
    ips: [parseIp(node === "node1" ? "192.0.2.1" : "192.0.2.2")],
  });
  const cluster = { ...CLOSED, pods: [...CLOSED.pods, host("node1"), host("node2")] };
  const own = await json("policy can x/host-node1 x/a 80", policyScene(cluster));
  assert.equal(own.allowed, true);
  const other = await json("policy can 192.0.2.2 x/a 80", policyScene(cluster));
  assert.equal(other.allowed, false);
});

for (
  const [line, words] of [
    ["policy can x/a y/a 80/SMTP", /want the pod's port/],
    ["policy can x/a y/a 0", /want the pod's port/],
    ["policy can x/nobody y/a 80", /is no pod/],
    ["policy can a y/b 80", /several pods: x\/a, y\/a, z\/a/],
    ["policy can x/a 10.1.1.1 80 9", /Too many/],
    ["policy show nobody", /no pod that the daemon knows/],
    ["policy shwo x/a", /no command "shwo"; did you mean show/],
    ["policy matrix --port x", /want the pod's port/],
  ] as const
) {
  Deno.test(`policy: wrong usage: ${line}`, async () => {
    const { code, stdout, stderr } = await inspect(line, policyScene(CLOSED));
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, words);
  });
}

const WEB = nodeOf(podParts(2, "default/web"));

Deno.test("policy, no daemon: the table of this node tells what it can, exit 3", async () => {
  const cluster = clusterAfter("x/p on pod=a types Ingress; in: []");
  const moved = {
    ...cluster,
    pods: cluster.pods.map((pod) =>
      pod.namespace === "x" && pod.name === "a" ? { ...pod, ips: [parseIp("10.244.1.2")] } : pod
    ),
  };
  const scene: Scene = { ...WEB, policyTable: listed(moved) };
  const show = await json("policy show default/web", scene);
  assert.deepEqual([show.code, show.item.ingress.policies[0].policy], [3, "x/p"]);
  assert.match(show.stderr, /No daemon answers/);
  const denied = await json("policy can 10.244.2.9 web 80", scene);
  assert.deepEqual([denied.code, denied.allowed], [1, false]);
  const open = await json("policy can web 10.244.2.9 80", scene);
  assert.deepEqual([open.code, open.allowed], [3, null]);
  for (const line of ["policy matrix", "policy lint"]) {
    const { code, stderr } = await json(line, scene);
    assert.equal(code, 3);
    assert.match(stderr, /needs a daemon/);
  }
});

Deno.test("policy: a daemon that is off knows nothing, and says why", async () => {
  const snapshot = known(clusterAfter(), { state: "off", reasons: ["--network-policy=off"] });
  const { synced: _, ...off } = snapshot;
  const { code, stderr } = await json("policy lint", {
    status: { "/policy": formatPolicySnapshot(off) },
  });
  assert.equal(code, 3);
  assert.match(stderr, /enforces no policies \(off: --network-policy=off\)/);
});

/** What each mistake is called. */
const MISTAKES: readonly (readonly [id: string, deed: string, clean: string])[] = [
  ["selects-nothing", "x/p on pod=d types Ingress; in: []", "x/p on pod=a types Ingress; in: []"],
  [
    "peer-matches-nothing",
    "x/p on all types Ingress; in: N(team=none) @ TCP/80",
    "x/p on all types Ingress; in: N(ns=y) @ TCP/80",
  ],
  [
    "unknown-port-name",
    "x/p on pod=a types Ingress; in: any peer @ TCP/serve-81-udp",
    "x/p on pod=a types Ingress; in: any peer @ TCP/serve-81-tcp",
  ],
  [
    "inert-section",
    "x/p on pod=a types Egress; in: P(pod=b) @ TCP/80; out: []",
    "x/p on pod=a types Ingress+Egress; in: P(pod=b) @ TCP/80; out: []",
  ],
  [
    "ingress-closed-too",
    "x/p on pod=a types (unset); out: N(ns=y) @ any port",
    "x/p on pod=a types Egress; out: N(ns=y) @ any port",
  ],
  [
    "node-address-in-block",
    "x/p on pod=a types Ingress; in: IP(192.0.2.2/32) @ any port",
    "x/p on pod=a types Ingress; in: IP(192.0.2.2/32) OR IP(10.244.2.0/32) @ any port",
  ],
];

for (const [id, deed, clean] of MISTAKES) {
  Deno.test(`policy lint: ${id}: ${deed}`, async () => {
    const lint = (text: string) => {
      const { status, ...rest } = policyScene(clusterAfter(text));
      return json("policy lint", { ...rest, status: { ...answers(), ...status } });
    };
    const { code, findings } = await lint(deed);
    assert.equal(code, 1);
    assert.deepEqual(findings.map((one: { id: string }) => one.id), [id]);
    for (const part of ["what", "breaks", "fix"]) assert.ok(findings[0][part].length > 10);
    const other = await lint(clean);
    assert.deepEqual([other.code, other.findings], [0, []]);
  });
}

Deno.test("policy lint: the address to write in place of a node's", async () => {
  const { status } = policyScene(
    clusterAfter("x/p on pod=a types Ingress; in: IP(192.0.2.2/32) @ any port"),
  );
  const { stdout } = await inspect("policy lint", { status: { ...answers(), ...status } });
  assert.match(stdout, /10\.244\.2\.0\/32 for node2/);
});

Deno.test("policy lint: names, policies that cannot be enforced, pods with the node's network", async () => {
  const base = clusterAfter(
    "x/p on pod=a types Egress; out: N(ns=y) @ TCP/80",
    "z/q on all types Ingress; in: []",
  );
  const [first] = base.pods;
  const cluster = {
    ...base,
    pods: [
      ...base.pods,
      {
        ...first!,
        namespace: "y",
        name: "dns",
        labels: new Map([["k8s-app", "kube-dns"]]),
        ips: [parseIp("10.244.2.53")],
      },
      { ...first!, namespace: "z", name: "agent", hostNetwork: true, ips: [] },
    ],
    policies: base.policies.map((policy) => policy.name === "q" ? policy : { ...policy, name: "p" })
      .concat({ ...base.policies[0]!, name: "r", egress: [], fault: "spec.later: not known" }),
  };
  const { findings } = await json("policy lint", policyScene(cluster));
  assert.deepEqual(findings.map((one: Record<string, string>) => `${one.id} ${one.subject}`), [
    "no-dns x/p",
    "not-enforceable x/r",
    "host-network-target z/q",
  ]);
});

const DROPPED = {
  src: parseIp("10.244.2.20"),
  dst: parseIp("10.244.1.10"),
  protocol: "TCP",
  sport: 40_000,
  dport: 81,
};

function dropScene(): Scene {
  const scene = policyScene(CLOSED);
  const chain = /10\.244\.1\.10 : goto (in-\w+)/.exec(scene.policyTable ?? "")?.[1] ?? "";
  return {
    ...scene,
    counts: new Map([["unknown", 0], [chain, 3]]),
    drops: [{ ...DROPPED, chain }, { ...DROPPED, chain: "unknown", protocol: "ICMP" }],
  };
}

Deno.test("policy log: the counts, by the policies that isolate", async () => {
  const { code, items } = await json("policy log", dropScene());
  assert.equal(code, 0);
  assert.deepEqual(
    [items[0].packets, items[0].policies, items[0].direction],
    [3, ["x/p"], "ingress"],
  );
});

Deno.test("policy log -f: one line for each packet, with names and policies", async () => {
  const { code, stdout, stderr } = await inspect("policy log -f", dropScene());
  assert.equal(code, 0);
  assert.deepEqual(stdout.trim().split("\n"), [
    "00:00:00.000 y/b (10.244.2.20:40000) -> x/a (10.244.1.10:81) TCP DROPPED ingress: x/p: no rule matches",
    "00:00:00.000 y/b (10.244.2.20:40000) -> x/a (10.244.1.10:81) ICMP DROPPED both: (its pod is not known yet)",
  ]);
  assert.match(stderr, /2 packets dropped/);
});

Deno.test("policy log -f -o json: JSON Lines as docs/schema says", async () => {
  const { stdout } = await inspect("policy log -f -o json", dropScene());
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(lines.length, 2);
  for (const line of lines) {
    assert.deepEqual(errors(load("inspect_policy_drop.json"), line, "drop"), []);
  }
  assert.deepEqual(lines[0].policies, ["x/p"]);
});

Deno.test("policy log: without the right it says which", async () => {
  const { code, stderr } = await inspect("policy log", { ...dropScene(), rights: [] });
  assert.equal(code, 3);
  assert.match(stderr, /CAP_NET_ADMIN/);
});
