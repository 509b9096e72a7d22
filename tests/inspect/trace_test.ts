import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import { parseIp } from "../../engine/ip.ts";
import type { RouteAnswer } from "../../engine/trace/lookup.ts";
import type { TraceEvent } from "../../engine/trace/marked.ts";
import type { TraceTools } from "../../inspect/trace/tools.ts";
import { FACTS, FILES } from "./check_scene.ts";
import { nodeOf, podParts } from "./pods_scene.ts";
import { errors, load } from "./schema.ts";
import { fdb, inspect, link, neighbour, type Scene, wayTo } from "./scene.ts";

const golden = (name: string): string =>
  Deno.readTextFileSync(new URL(`../golden/${name}`, import.meta.url));

const PODS = nodeOf(podParts(2, "default/web"), podParts(5, "default/shop"));

const OURS = FACTS.find((fact) => fact.kind === "rules")!.text;

/** Node 1 with two pods, leases of peers 2 and 3, and our rules; changed as told. */
function node(
  change: {
    readonly facts?: (all: readonly Fact[]) => readonly Fact[];
    readonly rules?: string;
    readonly asked?: (facts: readonly Fact[]) => Partial<TraceTools>;
  } = {},
): Scene {
  const { facts = (all) => all, rules = OURS, asked = () => ({}) } = change;
  const ports = ["veth2", "veth5"].flatMap((name): Fact[] => [
    ...link(name, 1450, "veth"),
    { kind: "port", where: "host", dev: name, bridge: "cni0", hairpin: true },
  ]);
  const all = facts([...FACTS, ...ports]);
  return {
    facts: all,
    ...(PODS.namespaces && { namespaces: PODS.namespaces }),
    files: {
      ...PODS.files,
      "/var/lib/twill/snapshot.json": FILES["/var/lib/twill/snapshot.json"]!,
    },
    asked: { ruleset: () => rules, ...asked(all) },
  };
}

async function traced(line: string, on: Scene): Promise<{
  readonly code: number;
  readonly endings: readonly string[];
  readonly steps: readonly string[];
  readonly findings: readonly string[];
}> {
  const { stdout, stderr, code } = await inspect(`trace ${line} -o json`, on);
  assert.equal(stderr, "", stdout);
  assert.deepEqual(errors(load("inspect_trace.json"), JSON.parse(stdout), "trace"), []);
  const { items, findings } = JSON.parse(stdout);
  return {
    code,
    endings: items.map((one: { ending: string }) => one.ending),
    steps: items[0].hops.map((one: { step: string }) => one.step),
    findings: findings.map((one: Record<string, string>) => `${one.id} ${one.subject}`),
  };
}

/** Ways through a healthy node. */
const WAYS: Readonly<Record<string, readonly [line: string, rules?: string]>> = {
  "pod to pod of this node": ["default/web default/shop"],
  "pod to pod of another node": ["web 10.244.2.7 80"],
  "pod to the world": ["web 203.0.113.9 443"],
  "pod to this node": ["web 10.244.1.1"],
  "this node to a pod of another": ["node 10.244.2.7 tcp/80"],
  "the world to a pod here": ["203.0.113.9 shop 80"],
  "a pod of another node to one here": ["10.244.2.7 shop udp/53"],
  "pod to a node, by its lease's name": ["web node2"],
  "service, nftables: an endpoint here and one there": [
    "web svc/web",
    OURS + golden("kube_proxy.nft"),
  ],
  "service without endpoints": ["web svc/default/none", OURS + golden("kube_proxy.nft")],
};

for (const [name, [line, rules]] of Object.entries(WAYS)) {
  Deno.test(`trace: ${name}`, async (t) => {
    const outcome = await inspect(`trace ${line}`, node(rules === undefined ? {} : { rules }));
    await t.assertSnapshot(`exit code ${outcome.code}\n${outcome.stdout}${outcome.stderr}`);
  });
}

Deno.test("trace: a service, iptables: the same endpoints as with nftables", async () => {
  const proxy = {
    ruleset: () =>
      OURS + "table ip nat {\n\tchain PREROUTING {\n\t\ttype nat hook prerouting " +
      "priority dstnat; policy accept;\n\t}\n}\n",
    iptables: (family: number, table: string) =>
      family === 4 && table === "nat" ? golden("kube_proxy.iptables") : undefined,
  };
  const on = node({ asked: () => proxy });
  const { stdout } = await inspect("trace web svc/web -o json", on);
  const ends = JSON.parse(stdout).items.map((one: { packet: Record<string, unknown> }) =>
    `${one.packet.destination}:${one.packet.port}`
  );
  assert.deepEqual(ends, ["10.244.1.5:8080", "10.244.2.6:8080"]);
});

const peer2 = (fact: Fact): boolean =>
  fact.kind === "neighbour" && fact.ip === "10.244.2.0" ||
  fact.kind === "fdb" && fact.remote === "192.0.2.2";

const routed = (answer: RouteAnswer) => (facts: readonly Fact[]): Partial<TraceTools> => ({
  lookUp: (netns, { to, iif }) =>
    netns === undefined && iif !== undefined
      ? answer
      : netns === undefined
      ? wayTo(facts, to)
      : { kind: "found", dev: "eth0", via: parseIp("10.244.1.1") },
});

/** What is broken, and the hop at which the packet must end. */
const FAULTS: Readonly<Record<string, readonly [on: Scene, finding: string, line?: string]>> = {
  "no neighbour": [
    node({ facts: (all) => all.filter((f) => !(peer2(f) && f.kind === "neighbour")) }),
    "no-neighbour flannel.1",
  ],
  "missing FDB entry": [
    node({ facts: (all) => all.filter((f) => !(peer2(f) && f.kind === "fdb")) }),
    "no-fdb flannel.1",
  ],
  "wrong MAC address": [
    node({
      facts: (all) => [
        ...all.filter((f) => !peer2(f)),
        neighbour("flannel.1", "10.244.2.0", "02:00:00:00:99:04"),
        fdb("flannel.1", "02:00:00:00:99:04", "192.0.2.2"),
      ],
    }),
    "wrong-mac flannel.1",
  ],
  "FDB entry to another node": [
    node({
      facts: (all) =>
        all.map((f) => f.kind === "fdb" && peer2(f) ? { ...f, remote: parseIp("192.0.2.3") } : f),
    }),
    "wrong-fdb flannel.1",
  ],
  "no route: it would leave by the default route": [
    node({ facts: (all) => all.filter((f) => !(f.kind === "route" && f.dst === "10.244.2.0/24")) }),
    "no-route eth0",
  ],
  "VTEP down": [
    node({
      facts: (all) =>
        all.map((f) => f.kind === "up" && f.dev === "flannel.1" ? { ...f, up: false } : f),
    }),
    "device-down flannel.1",
  ],
  "MTU of the uplink too small by the outer headers": [
    node({
      facts: (all) =>
        all.map((f) => f.kind === "link" && f.name === "eth0" ? { ...f, mtu: 1480 } : f),
    }),
    "vtep-mtu eth0",
  ],
  "MTU of the uplink too small": [
    node({
      facts: (all) =>
        all.map((f) => f.kind === "link" && f.name === "eth0" ? { ...f, mtu: 1400 } : f),
    }),
    "vtep-mtu eth0",
  ],
  "pod may send more than the VTEP carries": [
    node({
      facts: (all) =>
        all.map((f) => f.kind === "link" && f.name === "flannel.1" ? { ...f, mtu: 1400 } : f),
    }),
    "pod-mtu flannel.1",
  ],
  "ip_forward off": [
    node({
      facts: (all) =>
        all.map((f) =>
          f.kind === "sysctl" && f.key === "net/ipv4/ip_forward" ? { ...f, value: "0" } : f
        ),
      asked: routed({ kind: "none", errno: 113, words: "No route to host" }),
    }),
    "no-forwarding routing table",
  ],
  "rp_filter": [
    node({ asked: routed({ kind: "none", errno: 22, words: "Invalid argument" }) }),
    "rp-filter routing table",
  ],
  "a firewall drops it": [
    node({
      rules: `${OURS}table inet fw {
	chain forward {
		type filter hook forward priority filter + 1; policy accept;
		ip daddr 10.244.2.0/24 tcp dport 80 drop
	}
}
`,
    }),
    "dropped-by-rule inet fw",
  ],
  "a NetworkPolicy": [
    node({
      rules: `${OURS}table inet twill-policy {
	counter default/web {
		packets 0 bytes 0
	}

	map from4 {
		type ipv4_addr : verdict
		elements = { 10.244.1.2 : goto default/web }
	}

	chain default/web {
		comment "egress of default/web"
		ct mark 0x00000700/24 accept
		ct direction reply ct state established accept
		icmpv6 type { nd-router-solicit } accept
		counter name "default/web" drop
	}

	chain from-pods {
		type filter hook forward priority filter - 10; policy accept;
		ip saddr vmap @from4
	}
}
`,
    }),
    "denied-by-policy inet twill-policy",
  ],
  "a policy of drop": [
    node({
      rules: `${OURS}table ip fw {
	chain forward {
		type filter hook forward priority filter + 1; policy drop;
	}
}
`,
    }),
    "dropped-by-rule ip fw",
  ],
  "UDP blocked on the way out": [
    node({
      rules: `${OURS}table inet fw {
	chain out {
		type filter hook output priority filter; policy accept;
		udp dport 8472 drop
	}
}
`,
    }),
    "udp-blocked inet fw",
  ],
  "veth unplugged": [
    node({ facts: (all) => all.filter((f) => !(f.kind === "port" && f.dev === "veth2")) }),
    "veth-unplugged veth2",
  ],
  "nobody has that address": [node(), "no-such-pod cni0", "web 10.244.1.77 80"],
  "no hairpin": [
    node({
      facts: (all) => all.map((f) => f.kind === "port" ? { ...f, hairpin: false } : f),
      rules: OURS + golden("kube_proxy.nft"),
    }),
    "no-hairpin veth5",
    "shop svc/web",
  ],
};

for (const [name, [on, finding, line = "web 10.244.2.7 80"]] of Object.entries(FAULTS)) {
  Deno.test(`trace: ${name}`, async (t) => {
    const { code, endings, findings } = await traced(line, on);
    assert.equal(code, 1);
    assert.equal(endings[0], "fails");
    assert.deepEqual(findings, [finding]);
    await t.assertSnapshot((await inspect(`trace ${line} --no-headers`, on)).stderr);
  });
}

Deno.test("trace: without br_netfilter no rule sees what is bridged", async () => {
  const on = node({
    facts: (all) => all.filter((f) => !(f.kind === "sysctl" && f.key.startsWith("net/bridge/"))),
  });
  const { steps } = await traced("web shop", on);
  assert.deepEqual(steps, ["pod-route", "veth", "bridge", "deliver"]);
});

Deno.test("trace: a rule that is not understood is listed as one that may act", async () => {
  const rules = `${OURS}table inet fw {
	chain forward {
		type filter hook forward priority filter + 1; policy accept;
		meta cgroup 5 drop
	}
}
`;
  const { stdout, code } = await inspect("trace web 10.244.2.7 80", node({ rules }));
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^may act \(not understood\):\n {2}forward: inet fw: forward: meta cgroup 5 drop$/m,
  );
});

Deno.test("trace: rules that cannot be read are said, and the exit code is 3", async () => {
  const { OpError } = await import("../../engine/errors.ts");
  const on = node({
    asked: () => ({
      ruleset: () => {
        throw new OpError("apply", "nft rules", { code: 100, kernel: "Operation not permitted" });
      },
    }),
  });
  const { code, stderr } = await inspect("trace web 10.244.2.7 80", on);
  assert.equal(code, 3);
  assert.match(stderr, /Rules are not known: .*run as root/);
});

/** What node 2 says when it is asked. */
async function far(to: string, change: Parameters<typeof node>[0] = {}): Promise<string> {
  return (await inspect(`trace 10.244.2.7 ${to} 80 -o json`, node(change))).stdout;
}

Deno.test("trace --probe: the node that the packet leaves for tells the rest", async (t) => {
  const asked: string[] = [];
  const answer = await far("shop");
  const page = (url: string): Promise<string> => {
    asked.push(url);
    return Promise.resolve(answer);
  };
  const on = { ...node(), tools: { page } };
  const outcome = await inspect("trace web 10.244.2.7 80 --probe --health-port 9000", on);
  assert.deepEqual(asked, [
    "http://192.0.2.2:9000/trace?src=10.244.1.2&dst=10.244.2.7&protocol=tcp&port=80",
  ]);
  await t.assertSnapshot(`exit code ${outcome.code}\n${outcome.stdout}${outcome.stderr}`);
  const { stdout } = await inspect("trace web 10.244.2.7 80 --probe -o json", on);
  assert.deepEqual(errors(load("inspect_trace.json"), JSON.parse(stdout), "trace"), []);
});

Deno.test("trace --probe: where it fails there, the finding names the node", async () => {
  const answer = await far("10.244.1.77");
  const on = { ...node(), tools: { page: () => Promise.resolve(answer) } };
  const { code, findings } = await traced("web 10.244.2.7 80 --probe", on);
  assert.equal(code, 1);
  assert.deepEqual(findings, ["no-such-pod node2: cni0"]);
});

for (const text of [undefined, "", "{}", "<html>", '{"kind":"trace","items":[]}']) {
  Deno.test(`trace --probe: ${text ?? "silence"} is no answer, and exit code 3`, async () => {
    const on = { ...node(), tools: { page: () => Promise.resolve(text) } };
    const { code, stderr } = await inspect("trace web 10.244.2.7 80 --probe", on);
    assert.equal(code, 3);
    assert.match(stderr, /Cannot tell about node2: no daemon of twill answers on port 8081/);
  });
}

Deno.test("trace: without --probe nobody is asked", async () => {
  const page = (): never => {
    throw new Error("a packet was sent");
  };
  assert.equal((await inspect("trace web 10.244.2.7 80", { ...node(), tools: { page } })).code, 0);
});

const OWN = "inet twill-trace-1";
const event = (id: number, chain: string, more: Partial<TraceEvent> = {}): TraceEvent => ({
  id,
  table: OWN,
  chain,
  kind: "policy",
  verdict: "accept",
  ...more,
});

/** What the kernel told of a packet, and how it is said. */
const LIVE: Readonly<Record<string, readonly [events: readonly TraceEvent[], answered: boolean]>> =
  {
    "seen everywhere and answered": [[
      event(7, "begin-prerouting", { kind: "rule", verdict: "continue", iif: 5 }),
      event(7, "seen-prerouting", { iif: 5 }),
      event(7, "seen-forward", { iif: 5, oif: 9 }),
      event(7, "seen-postrouting", { oif: 9 }),
      event(8, "begin-output", { kind: "rule", verdict: "continue", oif: 2 }),
      event(8, "seen-postrouting", { oif: 2 }),
    ], true],
    "dropped by a rule": [[
      event(7, "seen-prerouting", { iif: 5 }),
      event(7, "c", { table: "inet fw", kind: "rule", verdict: "drop", handle: 4n }),
    ], false],
    "dropped by a policy": [[
      event(7, "seen-prerouting", { iif: 5 }),
      event(7, "c", { table: "ip fw", verdict: "drop" }),
    ], false],
    "no answer": [[event(7, "seen-postrouting", { oif: 9 })], false],
    "seen nowhere": [[], false],
  };

for (const [name, [events, answered]] of Object.entries(LIVE)) {
  Deno.test(`trace --live: ${name}`, async (t) => {
    const live: TraceTools["live"] = () => Promise.resolve({ table: OWN, events, answered });
    const ruleText: TraceTools["ruleText"] = (_table, _chain, handle) => `rule ${handle} drop`;
    const on = {
      ...node({ asked: () => ({ live, ruleText }) }),
      tools: { page: async () => await far("shop") },
    };
    const outcome = await inspect("trace web 10.244.2.7 80 --live --probe", on);
    assert.equal(outcome.code, answered ? 0 : 1);
    const at = outcome.stdout.indexOf("live:");
    await t.assertSnapshot(outcome.stdout.slice(at));
    const { stdout } = await inspect("trace web 10.244.2.7 80 --live --probe -o json", on);
    assert.deepEqual(errors(load("inspect_trace.json"), JSON.parse(stdout), "trace"), []);
  });
}

Deno.test("trace --live, check --probe: a right that is missing is named before anything is sent", async () => {
  for (const line of ["trace web 10.244.2.7 --live --probe", "check --probe"]) {
    const { code, stderr } = await inspect(line, { ...node(), rights: ["CAP_SYS_ADMIN"] });
    assert.equal(code, 3);
    assert.match(stderr, /this needs root, or CAP_NET_/);
  }
});

Deno.test("trace --live: sends only with --probe, and only from here", async () => {
  const without = await inspect("trace web 10.244.2.7 --live", node());
  assert.deepEqual([without.code, without.stdout], [2, ""]);
  assert.match(without.stderr, /say so with --probe/);
  const elsewhere = await inspect("trace 10.244.2.7 web --live --probe", node());
  assert.equal(elsewhere.code, 2);
  assert.match(elsewhere.stderr, /can send from a pod of this node/);
});

const WRONG: Readonly<Record<string, RegExp>> = {
  "nobody 10.244.2.7": /"nobody" is no address, no pod of this node/,
  "web svc/default/nothing": /name no service default\/nothing/,
  "web 10.244.2.7 http": /want a port: 80, tcp\/80/,
  "web 10.244.2.7 70000": /want a port/,
  "web fd00::1": /different families/,
  "web": /dst/,
};

for (const [line, words] of Object.entries(WRONG)) {
  Deno.test(`trace ${line}: wrong usage`, async () => {
    const { code, stderr } = await inspect(
      `trace ${line}`,
      node({ rules: golden("kube_proxy.nft") }),
    );
    assert.equal(code, 2, stderr);
    assert.match(stderr, words);
  });
}

Deno.test("trace: --help has real examples, --show-commands the commands that show the same", async (t) => {
  const help = await inspect("trace --help");
  assert.equal(help.stdout.match(/^ {2}twill inspect .* # /gm)?.length, 3);
  await t.assertSnapshot(help.stdout);
  const outcome = await inspect("trace web 10.244.2.7 80 --show-commands -o json", node());
  JSON.parse(outcome.stdout);
  await t.assertSnapshot(outcome.stderr);
});
