/** What goes of the network state of a node, and what forbids it. */

import assert from "node:assert/strict";
import type { Driver, Fact } from "../../engine/fact.ts";
import { parseCidr, parseIp } from "../../engine/ip.ts";
import type { Entry, Inventory, NodeState } from "../../install/inventory.ts";
import { planRemoval } from "../../install/plan.ts";
import { type RemovalPlan, removalText } from "../../install/removal.ts";

const SUBNET_ENV = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_IPV6_NETWORK=fd00:10:244::/56
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;

function link(name: string, driver: Driver["kind"] | string): Fact {
  const known: Readonly<Record<string, Driver>> = {
    bridge: { kind: "bridge" },
    veth: { kind: "veth" },
    vxlan: { kind: "vxlan", vni: 1, port: 8472 },
  };
  return {
    kind: "link",
    where: "host",
    name,
    driver: known[driver] ?? { kind: "other", name: driver },
  };
}

function port(dev: string, bridge: string): Fact {
  return { kind: "port", where: "host", dev, bridge };
}

interface RouteOptions {
  readonly dev?: string;
  readonly via?: string;
  readonly protocol?: number;
  readonly blackhole?: boolean;
}

function route(dst: string, { via, ...rest }: RouteOptions): Fact {
  const gateway = via === undefined ? {} : { via: parseIp(via) };
  return { kind: "route", where: "host", dst: parseCidr(dst), ...gateway, ...rest };
}

interface Node extends Partial<NodeState> {
  readonly inventory?: Partial<Inventory>;
  readonly force?: boolean;
}

function planOf({ inventory = {}, force = false, ...node }: Node): RemovalPlan {
  return planRemoval({
    binDirs: [],
    confDirs: [],
    entries: new Map(),
    network: { name: "cbr0", bridge: "cni0" },
    containers: new Set(),
    subnetEnv: SUBNET_ENV,
    node: {
      facts: [],
      tables: [],
      shared: new Map(),
      iptables: [],
      processes: [],
      systemd: false,
      ...node,
    },
    ...inventory,
  }, force);
}

function removalsOf(node: Node): string[] {
  return planOf(node).removals.map((removal) => removalText(removal).replace(/ {2,}/, " "));
}

/** What is there, and what of it goes. */
const ROWS: readonly (readonly [string, Node, readonly string[]])[] = [
  [
    "devices of every backend of flannel, and of nobody else",
    {
      facts: [
        ...["flannel.1", "flannel-v6.1", "flannel.4096"].map((name) => link(name, "vxlan")),
        ...["flannel-wg", "flannel-wg-v6", "wg0"].map((name) => link(name, "wireguard")),
        link("flannel.ipip", "ipip"),
        link("tunl0", "ipip"),
        link("flannel0", "tun"),
        link("tun0", "tun"),
        link("vxlan.calico", "vxlan"),
        link("flannel.100x", "vxlan"),
        link("eth0", ""),
      ],
    },
    [
      "device flannel.1",
      "device flannel-v6.1",
      "device flannel.4096",
      "device flannel-wg",
      "device flannel-wg-v6",
      "device flannel.ipip",
      "device flannel0",
    ],
  ],
  [
    "the bridge without ports",
    { facts: [link("cni0", "bridge"), link("br1", "bridge")] },
    ["device cni0"],
  ],
  [
    "a bridge on which something else hangs stays",
    { facts: [link("cni0", "bridge"), link("eth1", ""), port("eth1", "cni0")] },
    [],
  ],
  [
    "a device cni0 that is no bridge stays",
    { facts: [link("cni0", "dummy")] },
    [],
  ],
  [
    "pods, when forced",
    {
      force: true,
      facts: [
        link("cni0", "bridge"),
        ...["veth1", "veth2", "veth3"].map((name) => link(name, "veth")),
        port("veth1", "cni0"),
        port("veth2", "cni0"),
        port("veth3", "br1"),
      ],
    },
    ["device veth1", "device veth2", "device cni0"],
  ],
  [
    "routes with our number, and those of flannel inside its network",
    {
      facts: [
        link("flannel.1", "vxlan"),
        route("10.244.2.0/24", { dev: "flannel.1", via: "10.244.2.0", protocol: 146 }),
        route("10.244.3.0/24", { dev: "eth0", via: "192.168.1.13", protocol: 146 }),
        route("10.244.4.0/24", { dev: "eth0", via: "192.168.1.14", protocol: 3 }),
        route("fd00:10:244:5::/64", { dev: "eth0", via: "fd00::5", protocol: 3 }),
        route("10.244.1.0/24", { blackhole: true, protocol: 3 }),
        // Somebody else's: another number, no gateway, outside, all of it, the default route.
        route("10.244.6.0/24", { dev: "eth0", via: "192.168.1.16", protocol: 186 }),
        route("10.244.7.0/24", { dev: "eth0", protocol: 3 }),
        route("10.96.0.0/12", { dev: "eth0", via: "192.168.1.1", protocol: 3 }),
        route("10.244.0.0/16", { dev: "eth0", via: "192.168.1.1", protocol: 3 }),
        route("0.0.0.0/0", { dev: "eth0", via: "192.168.1.1", protocol: 3 }),
      ],
    },
    [
      "route 10.244.3.0/24 via 192.168.1.13 dev eth0",
      "route 10.244.4.0/24 via 192.168.1.14 dev eth0",
      "route fd00:10:244:5::/64 via fd00::5 dev eth0",
      "route blackhole 10.244.1.0/24",
      "device flannel.1",
    ],
  ],
  [
    "without a subnet file only routes with our number",
    {
      inventory: { subnetEnv: "" },
      facts: [
        route("10.244.3.0/24", { dev: "eth0", via: "192.168.1.13", protocol: 146 }),
        route("10.244.4.0/24", { dev: "eth0", via: "192.168.1.14", protocol: 3 }),
      ],
    },
    ["route 10.244.3.0/24 via 192.168.1.13 dev eth0"],
  ],
  [
    "tables of ours, of every instance, and of flannel",
    {
      tables: [
        "inet twill",
        "inet twill-blue",
        "inet twillight",
        "ip twill",
        "ip flannel-ipv4",
        "ip6 flannel-ipv6",
        "ip nat",
        "inet firewalld",
      ],
    },
    [
      "nft table inet twill",
      "nft table inet twill-blue",
      "nft table ip flannel-ipv4",
      "nft table ip6 flannel-ipv6",
    ],
  ],
];

for (const [what, node, want] of ROWS) {
  Deno.test(`plan: ${what}`, () => assert.deepEqual(removalsOf(node), want));
}

Deno.test("plan: a device of flannel's name and another kind stays, and is named", () => {
  const { removals, kept } = planOf({ facts: [link("flannel.1", "dummy")] });
  assert.deepEqual([removals, kept], [[], ["device flannel.1: of another kind than flannel's"]]);
});

Deno.test("plan: live pods forbid all, unless forced", () => {
  const facts = [
    link("cni0", "bridge"),
    ...["a", "b", "c", "d", "e", "f"].flatMap((x) => [
      link(`veth${x}`, "veth"),
      port(`veth${x}`, "cni0"),
    ]),
  ];
  assert.match(
    planOf({ facts }).blockers.join("\n"),
    /^6 pods are alive on cni0 \(vetha, vethb, vethc, vethd, vethe, …\)/,
  );
  assert.deepEqual(planOf({ facts, force: true }).blockers, []);
  assert.match(planOf({ facts: facts.slice(0, 3) }).blockers.join("\n"), /^a pod is alive/);
});

const DAEMON = { pid: 7, words: ["/opt/cni/bin/twill", "daemon", "--ip-masq"], cgroup: "0::/\n" };

Deno.test("plan: a daemon outside the unit forbids all, also when forced", () => {
  const [blocker] = planOf({ processes: [DAEMON], force: true }).blockers;
  assert.match(blocker ?? "", /^twill daemon runs \(pid 7\).*stop it first$/);
  const inUnit = { ...DAEMON, cgroup: "0::/system.slice/twill.service\n" };
  const other = { ...DAEMON, words: ["/usr/bin/vim", "daemon"] };
  const client = { ...DAEMON, words: ["twill", "inspect", "peers"] };
  assert.deepEqual(planOf({ processes: [inUnit, other, client] }).blockers, []);
});

Deno.test("plan: what flanneld uses while it runs stays", () => {
  const dir = { kind: "directory", names: [] } as const;
  const list = "/etc/cni/net.d/10-flannel.conflist";
  const entries = new Map<string, Entry>([
    ["/run/flannel", dir],
    ["/run/twill", dir],
    ["/var/lib/cni/flannel", dir],
    ["/var/lib/cni/networks/cbr0", dir],
    ["/var/lib/twill", dir],
    [list, { kind: "file", text: "{}" }],
  ]);
  const receipt = { schema: 1, twill: "", placed: [{ path: list }], absent: [] } as const;
  const node: Node = {
    facts: [link("flannel.1", "vxlan"), link("cni0", "bridge")],
    tables: ["inet twill", "ip flannel-ipv4"],
    processes: [{ pid: 8, words: ["/opt/bin/flanneld", "--kube-subnet-mgr"], cgroup: "" }],
    inventory: { entries, receipt },
  };
  assert.deepEqual(removalsOf(node), [
    "nft table inet twill",
    "directory /run/twill and all in it",
    "directory /var/lib/twill and all in it",
  ]);
  assert.match(
    planOf(node).kept.join("\n"),
    /needs it\ndevices, routes, .* flanneld, .*\(pid 8\)$/,
  );
  // A list from before twill comes back all the same.
  const saved = new Map<string, Entry>([...entries, [
    `${list}.before-twill`,
    { kind: "file" } as const,
  ]]);
  const [first] = removalsOf({ ...node, inventory: { entries: saved, receipt } });
  assert.match(first ?? "", /10-flannel\.conflist \(comes back/);
});

const HOST_PORTS = `table ip cni_hostport { # handle 3
	chain hostports { # handle 1
		tcp dport 80 dnat to 10.244.1.2:80 comment "c1" # handle 10
		tcp dport 81 dnat to 10.88.0.2:81 comment "c9" # handle 11
	}
	chain masquerading { # handle 2
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.244.1.2 ip daddr 10.244.1.2 masquerade comment "c1" # handle 12
	}
}
`;
const MASQUERADE = `table inet cni_plugins_masquerade { # handle 4
	chain masq_checks { # handle 1
		ip saddr 10.244.1.2 ip daddr != 10.244.1.0/24 masquerade comment "a-b, net: cbr0, if: eth0, id: c1" # handle 5
	}
}
`;

/** Tables that networks share. */
const SHARED: readonly (readonly [string, Node, readonly string[]])[] = [
  [
    "rules of other networks stay",
    { shared: new Map([["ip cni_hostport", HOST_PORTS]]) },
    ["nft table ip cni_hostport: 2 rules of pods of cbr0"],
  ],
  [
    "with nothing but rules of ours they go",
    {
      shared: new Map([
        ["ip cni_hostport", HOST_PORTS.replace(/.*c9.*\n/, "")],
        ["inet cni_plugins_masquerade", MASQUERADE],
      ]),
    },
    ["nft table ip cni_hostport", "nft table inet cni_plugins_masquerade"],
  ],
  [
    "empty ones go",
    { shared: new Map([["ip cni_hostport", HOST_PORTS.replaceAll(/.*comment.*\n/g, "")]]) },
    ["nft table ip cni_hostport"],
  ],
  [
    "unless they were there before the install",
    {
      shared: new Map([["inet cni_plugins_masquerade", MASQUERADE]]),
      inventory: {
        receipt: {
          schema: 1,
          twill: "",
          placed: [],
          absent: [],
          tables: ["inet cni_plugins_masquerade"],
        },
      },
    },
    ["nft table inet cni_plugins_masquerade: 1 rule of pods of cbr0"],
  ],
  [
    "other networks' alone are none of our business",
    {
      shared: new Map([["inet cni_plugins_masquerade", MASQUERADE.replace("cbr0", "podman")]]),
    },
    [],
  ],
];
for (const [what, node, want] of SHARED) {
  Deno.test(`plan, shared tables: ${what}`, () => {
    const { inventory = {}, ...rest } = node;
    const all = { ...rest, inventory: { containers: new Set(["c1"]), ...inventory } };
    assert.deepEqual(removalsOf(all), want);
  });
}

Deno.test("plan, shared tables: only the very rules are deleted", () => {
  const { removals } = planOf({
    shared: new Map([["ip cni_hostport", HOST_PORTS]]),
    inventory: { containers: new Set(["c1"]) },
  });
  const [removal] = removals;
  assert.equal(
    removal?.kind === "nft" ? removal.commands : "",
    "delete rule ip cni_hostport hostports handle 10\n" +
      "delete rule ip cni_hostport masquerading handle 12\n",
  );
});
