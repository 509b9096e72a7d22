import assert from "node:assert/strict";
import fc from "fast-check";
import { parseNft, readRule as readNft } from "../../inspect/rules/parse_nft.ts";
import { parseIptables, readRule as readIptables } from "../../inspect/rules/parse_iptables.ts";
import { ruleWords } from "../../inspect/rules/words.ts";
import { inspect, type Outcome, type Scene } from "./scene.ts";

/** Our own table, as nft prints it. */
const OURS = `table inet twill {
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr 10.244.0.0/16 accept comment "from a pod"
		ip daddr 10.244.0.0/16 accept comment "to a pod"
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x00004000 == 0x00004000 return comment "marked by kube-proxy, which masquerades it"
		ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return comment "our pods to the overlay keep their address"
		ip saddr 10.244.0.0/16 ip daddr 10.244.1.0/24 return comment "the overlay to our pods keeps its address"
		ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return comment "outside clients of our pods keep their address"
		ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random comment "pods leave the overlay with the node's address"
		ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random comment "this node to pods of others"
	}
}
`;

/** What kube-proxy writes in its iptables mode, a few lines of it, as the nft variant shows them. */
const KUBE = `table ip nat {
	chain KUBE-MARK-MASQ {
		counter meta mark set mark or 0x4000
	}

	chain KUBE-SERVICES {
		meta l4proto tcp ip daddr 10.96.0.1  tcp dport 443 counter jump KUBE-SVC-X
		fib daddr type local counter jump KUBE-NODEPORTS
	}

	chain KUBE-NODEPORTS {
	}

	chain KUBE-SVC-X {
		ip saddr != 10.244.0.0/16 counter jump KUBE-MARK-MASQ
		meta l4proto tcp counter dnat to 192.0.2.1:6443
	}

	chain KUBE-POSTROUTING {
		meta mark & 0x00004000 != 0x00004000 counter return
		counter meta mark set mark xor 0x4000
		counter masquerade fully-random
	}

	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		counter jump KUBE-SERVICES
	}

	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		counter jump KUBE-POSTROUTING
	}
}
`;

function base(table: string, hook: string, type: string, rules: string, policy = "accept"): string {
  const priority = type === "nat" ? "srcnat" : "filter";
  return `table ${table} {
	chain c {
		type ${type} hook ${hook} priority ${priority}; policy ${policy};
${rules.split("\n").map((line) => `\t\t${line.trim()}\n`).join("")}	}
}
`;
}

function findings({ stdout }: Outcome): string[] {
  return JSON.parse(stdout).findings
    .map(({ subject, id }: { subject: string; id: string }) => `${subject} ${id}`);
}

Deno.test("rules: ours alone, in order and in words", async (t) => {
  const outcome = await inspect("rules", { rules: { nft: OURS } });
  assert.equal(outcome.code, 0);
  await t.assertSnapshot(outcome.stdout);
  const json = await inspect("rules -o json", { rules: { nft: OURS } });
  await t.assertSnapshot(JSON.parse(json.stdout).items[2]);
});

Deno.test("rules: kube-proxy's stand between, and are no hazard", async (t) => {
  const outcome = await inspect("rules", { rules: { nft: OURS + KUBE } });
  assert.equal(outcome.code, 0);
  await t.assertSnapshot(outcome.stdout);
});

/** Rules beside ours, and the hazards that they must be found to be. */
const HAZARDS: Readonly<
  Record<string, readonly [rules: Scene["rules"], hazards: readonly string[]]>
> = {
  "a policy in another table": [
    { nft: OURS + base("ip filter", "forward", "filter", "", "drop") },
    ["ip filter c drops-pods"],
  ],
  "a policy behind rules that let pods through": [
    {
      nft: OURS + base(
        "ip filter",
        "forward",
        "filter",
        "ip saddr 10.244.0.0/16 accept\nip daddr 10.244.0.0/16 accept",
        "drop",
      ),
    },
    [],
  ],
  "a return in a base chain, before its policy": [
    { nft: OURS + base("ip filter", "forward", "filter", "ip saddr 10.244.0.0/16 return", "drop") },
    ["ip filter c drops-pods"],
  ],
  "a drop of what only may be a pod's packet": [
    { nft: OURS + base("ip filter", "forward", "filter", "tcp dport 25 drop\nip daddr @bad drop") },
    [],
  ],
  "a drop of what no pod's packet is": [
    {
      nft: OURS + base(
        "ip filter",
        "forward",
        "filter",
        'ct state invalid drop\nip saddr 172.17.0.0/16 drop\niifname "docker0" drop',
      ),
    },
    [],
  ],
  "a reject by device": [
    { nft: OURS + base("inet fw", "forward", "filter", 'iifname "cni0" reject') },
    ["inet fw c drops-pods"],
  ],
  "a second masquerade of what stays inside": [
    {
      nft: OURS +
        base(
          "ip nat",
          "postrouting",
          "nat",
          'oifname != "docker0" ip saddr 10.244.0.0/16 masquerade',
        ),
    },
    ["ip nat c second-masquerade"],
  ],
  "a second masquerade of what leaves": [
    {
      nft: OURS + base(
        "ip nat",
        "postrouting",
        "nat",
        "ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade",
      ),
    },
    [],
  ],
  "the overlay's port is closed": [
    { nft: OURS + base("inet fw", "input", "filter", "tcp dport 22 accept", "drop") },
    ["inet fw c drops-overlay"],
  ],
  "the overlay's port is open": [
    { nft: OURS + base("inet fw", "input", "filter", "udp dport { 53, 8472 } accept", "drop") },
    [],
  ],
  "legacy iptables, with a policy": [
    { nft: OURS, legacy: { ip: "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n" } },
    ["legacy ip filter FORWARD drops-pods"],
  ],
  "legacy iptables, a rule in a chain that is jumped to": [
    {
      nft: OURS,
      legacy: {
        ip: [
          "*filter",
          ":INPUT ACCEPT [0:0]",
          ":FORWARD ACCEPT [0:0]",
          ":STRICT - [0:0]",
          "-A FORWARD -i cni0 -j STRICT",
          "-A STRICT -d 10.244.0.0/16 -j RETURN",
          "-A STRICT -j DROP",
          "COMMIT",
          "",
        ].join("\n"),
      },
    },
    ["legacy ip filter STRICT drops-pods"],
  ],
};

for (const [name, [rules, expected]] of Object.entries(HAZARDS)) {
  Deno.test(`rules: ${name}`, async () => {
    const outcome = await inspect("rules -o json", { rules: rules! });
    assert.deepEqual(findings(outcome), expected);
    assert.equal(outcome.code, expected.length > 0 ? 1 : 0);
    const marked = JSON.parse(outcome.stdout).items
      .filter(({ effect }: { effect: string }) => effect === "hazard");
    assert.equal(marked.length > 0, expected.length > 0);
  });
}

Deno.test("rules: that another table lets through does not help, and it is said so", async () => {
  const { stdout } = await inspect("rules", {
    rules: { nft: OURS + base("ip filter", "forward", "filter", "", "drop") },
  });
  assert.match(stdout, /that inet twill forward lets them through does not help/);
  assert.match(stdout, /\$ nft insert rule ip filter c ip saddr 10\.244\.0\.0\/16 accept && /);
});

Deno.test("rules: without rights it is said at once", async () => {
  assert.deepEqual(await inspect("rules", { rights: [] }), {
    code: 3,
    stdout: "",
    stderr: "Cannot read packet rules: this needs root, or CAP_NET_ADMIN\n" +
      "Run the same command as root (sudo)\n",
  });
});

Deno.test("rules: long chains of others are summed up, but for --all", async () => {
  const many = Array.from({ length: 30 }, (_, i) => `\t\tip daddr 10.97.0.${i} drop`).join("\n");
  const nft = `table ip x {\n\tchain long {\n${many}\n\t}\n\n\tchain c {\n\t\ttype filter hook ` +
    "forward priority filter; policy accept;\n\t\tjump long\n\t}\n}\n";
  const short = await inspect("rules --no-headers", { rules: { nft } });
  assert.match(short.stdout, /^.*> 30 rules; --all lists them\n$/m);
  assert.equal(
    (await inspect("rules --no-headers --all", { rules: { nft } })).stdout.split("\n").length,
    32,
  );
});

/** A rule of either program, in words. */
const WORDS: readonly (readonly [read: typeof readNft, rule: string, words: string])[] = [
  [
    readNft,
    "ct state established,related accept",
    "of established or related connections: let through",
  ],
  [readNft, "tcp dport { 22, 80-90 } drop", "tcp, to port 22 or 80 to 90: thrown away"],
  [
    readNft,
    "ip daddr { 10.0.0.0/8, 192.168.0.0/16 } counter packets 3 bytes 4 reject with icmp type admin-prohibited",
    "to 10.0.0.0/8 or 192.168.0.0/16: refused",
  ],
  [
    readNft,
    'iifname "docker*" oifname != { "a", "b" } limit rate 5/second burst 5 packets log prefix "x y" level warn drop',
    "in by docker*, not out by a or b, [limit rate 5/second burst 5 packets]: thrown away",
  ],
  [
    readNft,
    "ct state vmap { established : accept, invalid : drop }",
    "everything: [ct state vmap { established : accept, invalid : drop }]",
  ],
  [
    readNft,
    "meta mark & 0x00004000 == 0x00004000 return",
    "marked 0x4000 in the bits 0x4000: back to the chain before",
  ],
  [readNft, "meta mark != 0x00000001 accept", "not marked 0x1: let through"],
  [readNft, "meta mark set meta mark | 0x00004000", "everything: marked: meta mark | 0x00004000"],
  [
    readNft,
    "tcp dport 8080 dnat ip to 10.244.1.5:80",
    "tcp, to port 8080: sent on to 10.244.1.5:80",
  ],
  [readNft, "ip saddr @set accept", "[ip saddr @set]: let through"],
  [readNft, "fib daddr type local jump X", "to an address of this node: goes through X"],
  [readNft, 'vlan id 5 queue comment "c"', "[vlan id 5 queue]: only counted or logged (c)"],
  [
    readIptables,
    '-s 10.0.0.0/8 ! -o docker0 -m comment --comment "a \\"b\\"" -j MASQUERADE --random-fully',
    'from 10.0.0.0/8, not out by docker0: leaves with this node\'s address (a "b")',
  ],
  [
    readIptables,
    "-p tcp -m multiport --dports 1,2:5 -j REJECT --reject-with icmp-port-unreachable",
    "tcp, to port 1 or 2 to 5: refused",
  ],
  [
    readIptables,
    "-m mark --mark 0x4000/0x4000 -j ACCEPT",
    "marked 0x4000 in the bits 0x4000: let through",
  ],
  [readIptables, "-m conntrack --ctstate INVALID -j DROP", "of invalid connections: thrown away"],
  [
    readIptables,
    "! -d 10.0.0.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.0.9:53",
    "not to 10.0.0.1/32, udp, to port 53: sent on to 10.0.0.9:53",
  ],
  [
    readIptables,
    "-m statistic --mode random --probability 0.5 -j KUBE-SEP-X",
    "[--mode random --probability 0.5]: goes through KUBE-SEP-X",
  ],
  [
    readIptables,
    "-j MARK --set-xmark 0x4000/0x4000",
    "everything: marked: --set-xmark 0x4000/0x4000",
  ],
];

for (const [read, rule, words] of WORDS) {
  Deno.test(`rule in words: ${rule}`, () => assert.equal(ruleWords(read(rule)), words));
}

Deno.test("parseNft, parseIptables: any text is read, and never throws", () => {
  const word = fc.constantFrom(
    ..."table chain { } ip ip6 saddr daddr != == & 10.0.0.0/8 tcp dport 80 { ct state vmap meta mark set"
      .split(" "),
    ..."fib limit log prefix counter accept drop jump -A -s ! -j --dports --mark *filter :X COMMIT \n \t"
      .split(" "),
    "\n",
    "\t",
    "\n\t\t",
  );
  fc.assert(fc.property(fc.array(word, { maxLength: 60 }), (words) => {
    const text = words.join(" ");
    for (const chain of [...parseNft(text), ...parseIptables(text, "ip")]) {
      for (const rule of chain.rules) ruleWords(rule);
    }
    ruleWords(readNft(text));
    ruleWords(readIptables(text));
  }));
});
