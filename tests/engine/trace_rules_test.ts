/**
 * What rules do with packets: kube-proxy's, as kube-proxy 1.33.13 wrote them in both of its modes
 * (`nft -s list ruleset`, `iptables-save`; services of golden/kube_proxy.yaml), ours, and anybody's.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type HookResult, runHook, type TracePacket } from "../../engine/trace/evaluate.ts";
import { readIptables } from "../../engine/trace/iptables_read.ts";
import { readNft, readPriority } from "../../engine/trace/nft_read.ts";
import type { Hook, TraceTable } from "../../engine/trace/rules.ts";
import { parseCidr, parseIp } from "../../engine/ip.ts";
import { overlayRuleFacts } from "../../engine/rules/overlay.ts";

const golden = (name: string): string =>
  Deno.readTextFileSync(new URL(`../golden/${name}`, import.meta.url));

const PROXY: Readonly<Record<string, readonly TraceTable[]>> = {
  nftables: readNft(golden("kube_proxy.nft")),
  iptables: readIptables(golden("kube_proxy.iptables"), 4),
};

const NODE = "192.168.200.11";

function packet(src: string, dst: string, dport?: number, protocol = "tcp"): TracePacket {
  return {
    src: parseIp(src),
    dst: parseIp(dst),
    protocol,
    ...(dport === undefined ? {} : { dport }),
    mark: 0,
  };
}

function run(
  tables: readonly TraceTable[],
  hook: Hook,
  one: TracePacket,
  take = 0,
  links: { iif?: string; oif?: string } = {},
): HookResult {
  const isLocal = (ip: string): boolean => ip === NODE || ip === "10.244.1.1";
  return runHook(tables, hook, one, { ...links, isLocal, take });
}

const said = ({ verdict, packet, maybe, masqueraded }: HookResult): string =>
  [
    verdict,
    packet.dst,
    packet.dport,
    packet.mark === 0 ? "" : `mark ${packet.mark.toString(16)}`,
    masqueraded ? "masquerade" : "",
    maybe.length === 0 ? "" : `maybe ${maybe.length}`,
  ].filter((word) => word !== "" && word !== undefined).join(" ");

/** Hook, packet, which endpoint, and what must come of it in both modes. */
const CASES: Readonly<Record<string, readonly [Hook, TracePacket, take: number, want: string]>> = {
  "ClusterIP from a pod, first endpoint": [
    "prerouting",
    packet("10.244.1.9", "10.96.5.5", 80),
    0,
    "accept 10.244.1.5 8080",
  ],
  "ClusterIP from a pod, second endpoint": [
    "prerouting",
    packet("10.244.1.9", "10.96.5.5", 80),
    1,
    "accept 10.244.2.6 8080",
  ],
  "a pod that reaches itself by its service is masqueraded": [
    "prerouting",
    packet("10.244.1.5", "10.96.5.5", 80),
    0,
    "accept 10.244.1.5 8080 mark 4000",
  ],
  "ClusterIP from outside the cluster's pods is masqueraded": [
    "prerouting",
    packet("203.0.113.9", "10.96.5.5", 80),
    0,
    "accept 10.244.1.5 8080 mark 4000",
  ],
  "ClusterIP from the node itself": [
    "output",
    packet(NODE, "10.96.0.1", 443),
    0,
    `accept ${NODE} 6443 mark 4000`,
  ],
  "session affinity: a new client": [
    "prerouting",
    packet("10.244.1.9", "10.96.5.6", 80),
    0,
    "accept 10.244.2.6 8080",
  ],
  "node port from outside": [
    "prerouting",
    packet("203.0.113.9", NODE, 30080),
    0,
    "accept 10.244.2.6 8080 mark 4000",
  ],
  "node port of pods here only, from a pod": [
    "prerouting",
    packet("10.244.1.9", NODE, 30081),
    0,
    "accept 10.244.2.6 8080",
  ],
  "node port of pods here only, from outside: left alone": [
    "prerouting",
    packet("203.0.113.9", NODE, 30081),
    0,
    `accept ${NODE} 30081`,
  ],
  "and dropped, since there is none": [
    "input",
    packet("203.0.113.9", NODE, 30081),
    0,
    `drop ${NODE} 30081`,
  ],
  "node port without endpoints": [
    "input",
    packet("203.0.113.9", NODE, 30082),
    0,
    `reject ${NODE} 30082`,
  ],
  "ClusterIP without endpoints": [
    "forward",
    packet("10.244.1.9", "10.96.5.7", 80),
    0,
    "reject 10.96.5.7 80",
  ],
  "another protocol is not the service's": [
    "prerouting",
    packet("10.244.1.9", "10.96.5.5", 80, "udp"),
    0,
    "accept 10.96.5.5 80",
  ],
  "ping to a pod": [
    "forward",
    packet("10.244.1.9", "10.244.2.6", undefined, "icmp"),
    0,
    "accept 10.244.2.6",
  ],
  "what is not marked is not masqueraded": [
    "postrouting",
    packet("10.244.1.9", "10.244.2.6", 8080),
    0,
    "accept 10.244.2.6 8080",
  ],
  "what is marked is, and loses the mark": [
    "postrouting",
    { ...packet("10.244.1.9", "10.244.2.6", 8080), mark: 0x4000 },
    0,
    "accept 10.244.2.6 8080 masquerade",
  ],
};

for (const [mode, tables] of Object.entries(PROXY)) {
  for (const [name, [hook, one, take, want]] of Object.entries(CASES)) {
    Deno.test(`kube-proxy, ${mode}: ${name}`, () => {
      assert.equal(said(run(tables, hook, one, take)), want);
    });
  }
  Deno.test(`kube-proxy, ${mode}: a service with two endpoints has two ways`, () => {
    const one = packet("10.244.1.9", "10.96.5.5", 80);
    assert.equal(run(tables, "prerouting", one).ways, 2);
    assert.equal(run(tables, "prerouting", packet("10.244.1.9", "10.96.5.6", 80)).ways, 1);
  });
  Deno.test(`kube-proxy, ${mode}: every rule is understood`, () => {
    for (const table of tables) {
      for (const chain of table.chains.values()) {
        for (const { text, matches, actions } of chain.rules) {
          const all = [...matches, ...actions];
          assert.ok(all.every(({ kind }) => kind !== "unknown"), text);
          // A rule without an action only counts, or feeds a set.
          assert.ok(actions.length > 0 || /^update @/.test(text), text);
        }
      }
    }
  });
}

Deno.test("kube-proxy, nftables: what is no service of a ClusterIP is refused, others dropped", () => {
  const tables = PROXY["nftables"]!;
  assert.equal(run(tables, "forward", packet("10.244.1.9", "10.96.5.5", 81)).verdict, "reject");
  const { verdict, by } = run(tables, "forward", packet("10.244.1.9", "10.96.77.7", 81));
  assert.equal(verdict, "drop");
  assert.match(by!.rule.text, /Drop traffic to unallocated ClusterIPs/);
});

const NETS = [{ network: parseCidr("10.244.0.0/16"), subnet: parseCidr("10.244.1.0/24") }];

/** Our rules, in each of their places. */
const OURS: Readonly<Record<string, readonly TraceTable[]>> = {
  ...Object.fromEntries((["twill", "flannel-nft"] as const).map((mode) => [
    mode,
    overlayRuleFacts(NETS, {
      mode,
      instance: "",
      masquerade: true,
      forward: true,
      fullyRandom: true,
      compat: false,
    }).flatMap((fact) => fact.kind === "rules" ? readNft(fact.text) : []),
  ])),
  iptables: readIptables(
    `*nat\n:POSTROUTING ACCEPT [0:0]\n:FLANNEL-POSTRTG - [0:0]\n${chainLines("nat")}\nCOMMIT\n` +
      `*filter\n:FORWARD DROP [0:0]\n:FLANNEL-FWD - [0:0]\n${chainLines("filter")}\nCOMMIT\n`,
    4,
  ),
};

function chainLines(table: string): string {
  return overlayRuleFacts(NETS, {
    mode: "iptables",
    instance: "",
    masquerade: true,
    forward: true,
    fullyRandom: true,
    compat: false,
  }).flatMap((fact) => fact.kind === "chain" && fact.table === table ? [fact.text] : []).join("\n");
}

for (const [mode, tables] of Object.entries(OURS)) {
  Deno.test(`our rules, ${mode}: who is masqueraded`, () => {
    const way = (src: string, dst: string): boolean =>
      run(tables, "postrouting", packet(src, dst, 80)).masqueraded;
    assert.equal(way("10.244.1.9", "10.244.2.6"), false);
    assert.equal(way("10.244.2.6", "10.244.1.9"), false);
    assert.equal(way("203.0.113.9", "10.244.1.9"), false);
    assert.equal(way("10.244.1.9", "203.0.113.9"), true);
    assert.equal(way("10.244.1.9", "224.0.0.5"), false);
    assert.equal(way(NODE, "10.244.2.6"), true);
  });
  Deno.test(`our rules, ${mode}: pods are forwarded`, () => {
    assert.equal(run(tables, "forward", packet("10.244.1.9", "203.0.113.9", 80)).verdict, "accept");
    assert.equal(run(tables, "forward", packet("203.0.113.9", "10.244.1.9", 80)).verdict, "accept");
    const other = run(tables, "forward", packet("203.0.113.9", "198.51.100.7", 80));
    assert.equal(other.verdict, mode === "iptables" ? "drop" : "accept");
  });
}

const MINE = `table inet mine {
	set bad {
		type ipv4_addr
		flags interval
		elements = { 10.9.0.0/16,
			     10.8.0.1-10.8.0.9 timeout 1h expires 59m }
	}

	chain f {
		type filter hook forward priority filter + 5; policy drop;
		ct state established,related accept
		ip saddr @bad drop
		iifname "cni*" tcp dport { 22, 8000-8100 } accept
		ip6 daddr fd00::/8 accept
		meta l4proto { tcp, udp } th dport 53 counter packets 1 bytes 2 accept comment "dns"
		ip daddr 10.7.0.1 meta skuid 0 drop
		ip daddr 10.7.0.2 log prefix "x" group 3 accept
		ip daddr 10.7.0.3 queue to 3
	}
}
`;

/** Anybody's rules. */
const FORWARDED: Readonly<Record<string, readonly [TracePacket, iif: string, want: string]>> = {
  "a range of a set": [packet("10.8.0.7", "10.1.0.1", 53), "x", "drop 10.1.0.1 53"],
  "beside the range: the policy": [packet("10.8.0.10", "10.1.0.1", 80), "x", "drop 10.1.0.1 80"],
  "a link by its beginning": [packet("10.1.0.1", "10.1.0.2", 8050), "cni0", "accept 10.1.0.2 8050"],
  "another link": [packet("10.1.0.1", "10.1.0.2", 8050), "eth0", "drop 10.1.0.2 8050"],
  "two protocols": [packet("10.1.0.1", "10.1.0.2", 53, "udp"), "x", "accept 10.1.0.2 53"],
  "IPv6 in a table of both": [packet("fd01::1", "fd00::2", 80), "x", "accept fd00::2 80"],
  "not understood: may act": [packet("10.1.0.1", "10.7.0.1", 80), "x", "drop 10.7.0.1 80 maybe 1"],
  "logged, then accepted": [packet("10.1.0.1", "10.7.0.2", 80), "x", "accept 10.7.0.2 80"],
  "an action that is not understood": [
    packet("10.1.0.1", "10.7.0.3", 80),
    "x",
    "drop 10.7.0.3 80 maybe 1",
  ],
};

for (const [name, [one, iif, want]] of Object.entries(FORWARDED)) {
  Deno.test(`rules of nft: ${name}`, () => {
    assert.equal(said(run(readNft(MINE), "forward", one, 0, { iif })), want);
  });
}

Deno.test("rules: an accept ends its own base chain only, a drop all", () => {
  const two = (first: string, second: string): TraceTable[] =>
    readNft(`table ip a {
	chain c {
		type filter hook forward priority filter - 5; policy accept;
		${first}
	}
}
table ip b {
	chain c {
		type filter hook forward priority filter; policy accept;
		${second}
	}
}
`);
  const one = packet("10.1.0.1", "10.1.0.2", 80);
  assert.equal(run(two("accept", "drop"), "forward", one).verdict, "drop");
  assert.equal(run(two("drop", "accept"), "forward", one).by?.table, "ip a");
  assert.equal(run(two("accept", "accept"), "forward", one).verdict, "accept");
});

Deno.test("rules: only the first chain that translates does so", () => {
  const table = (name: string, priority: string, to: string): string =>
    `table ip ${name} {
	chain c {
		type nat hook prerouting priority ${priority}; policy accept;
		tcp dport 80 dnat to ${to}
	}
}
`;
  const tables = readNft(
    table("late", "dstnat + 1", "10.2.0.2:1") + table("early", "dstnat", "10.2.0.1"),
  );
  const { packet: after, acted } = run(tables, "prerouting", packet("10.1.0.1", "10.1.0.2", 80));
  assert.deepEqual([after.dst, after.dport, acted.length], ["10.2.0.1", 80, 1]);
});

Deno.test("rules: a jump comes back, a goto does not", () => {
  const way = (word: string): string =>
    run(
      readNft(`table ip a {
	chain c {
		type filter hook forward priority 0; policy accept;
		${word} d
		drop
	}
	chain d {
		ip saddr 10.9.9.9 accept
	}
}
`),
      "forward",
      packet("10.1.0.1", "10.1.0.2", 80),
    ).verdict;
  assert.deepEqual([way("jump"), way("goto")], ["drop", "accept"]);
});

Deno.test("rules: a jump that leads in a circle ends", () => {
  const tables = readNft(`table ip a {
	chain c {
		type filter hook forward priority 0; policy accept;
		jump d
	}
	chain d {
		jump d
	}
}
`);
  assert.equal(run(tables, "forward", packet("10.1.0.1", "10.1.0.2", 80)).verdict, "accept");
});

Deno.test("readPriority: names, sums, numbers", () => {
  assert.deepEqual(
    ["filter", "dstnat - 10", "srcnat + 5", "-110", "raw", "0"].map(readPriority),
    [0, -110, 105, -110, -300, 0],
  );
});

Deno.test("readNft and readIptables: any text is read, and never throws", () => {
  const words = [
    "ip",
    "saddr",
    "daddr",
    "{",
    "}",
    "vmap",
    "@x",
    "meta",
    "mark",
    "&",
    "0x1",
    "==",
    "tcp",
    "dport",
    "80",
    "dnat",
    "to",
    "-A",
    "F",
    "-m",
    "-j",
    "!",
    "numgen",
    "drop",
    "10.0.0.1",
  ];
  fc.assert(fc.property(fc.array(fc.constantFrom(...words), { maxLength: 12 }), (line) => {
    const text = line.join(" ");
    const nft = readNft(
      `table ip x {\n\tchain f {\n\t\ttype filter hook forward priority 0; policy accept;\n\t\t${text}\n\t}\n}\n`,
    );
    run(nft, "forward", packet("10.0.0.1", "10.0.0.2", 80));
    run(
      readIptables(`*filter\n:F ACCEPT [0:0]\n-A F ${text}\nCOMMIT\n`, 4),
      "forward",
      packet("10.0.0.1", "10.0.0.2", 80),
    );
  }));
});
