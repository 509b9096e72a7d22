import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import { parseIp } from "../../engine/ip.ts";
import type { Pod } from "../../engine/policy/model.ts";
import { clusterAfter, policyScene } from "./policy_scene.ts";
import type { RouteAnswer } from "../../engine/trace/lookup.ts";
import type { TraceTools } from "../../inspect/trace/tools.ts";
import { fdb, inspect, neighbour, type Scene, wayTo } from "./scene.ts";
import { errors, load } from "./schema.ts";
import { golden, node, OURS, traced } from "./trace_scene.ts";

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

Deno.test("trace: policies at both ends, by the daemon's word", async () => {
  const [first] = clusterAfter().pods;
  const pod = (namespace: string, name: string, ip: string, on: string): Pod => ({
    ...first!,
    namespace,
    name,
    node: on,
    ips: [parseIp(ip)],
    labels: new Map([["pod", name]]),
  });
  const cluster = {
    ...clusterAfter(
      "x/out on pod=web types Egress; out: P(pod=far) @ TCP/80",
      "x/in on pod=far types Ingress; in: []",
    ),
    pods: [pod("x", "web", "10.244.1.2", "node1"), pod("x", "far", "10.244.2.7", "node2")],
  };
  const scene = { ...node(), status: policyScene(cluster).status! };
  const { stdout } = await inspect("trace web 10.244.2.7 80 -o json", scene);
  assert.deepEqual(errors(load("inspect_trace.json"), JSON.parse(stdout), "trace"), []);
  const hops: { step: string; at: string; what: string }[] = JSON.parse(stdout).items[0].hops;
  const at = hops.findIndex(({ step }) => step === "forward");
  assert.deepEqual(hops.slice(at - 2, at).map(({ step, at, what }) => `${step} ${at}: ${what}`), [
    "egress-policy 10.244.1.2: allowed by x/out egress[0]: to pods pod=far in namespace x, TCP 80",
    "ingress-policy 10.244.2.7: isolated by x/in; no rule matches (judged on node2)",
  ]);
});
