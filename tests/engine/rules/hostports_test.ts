import assert from "node:assert/strict";
import { type Ip, parseInet } from "../../../engine/ip.ts";
import {
  hostPortChains,
  hostPortsCollection,
  hostPortsRemoval,
  hostPortsWanted,
  type IptablesPorts,
  type PortMapping,
} from "../../../engine/rules/hostports.ts";
import {
  hostPortsCommands,
  hostPortsDeletion,
  hostPortsLack,
} from "../../../engine/rules/hostports_nft.ts";
import { additionText, IptablesTable, missing } from "../../../engine/rules/iptables.ts";
import { parseListing } from "../../../engine/rules/nft_listing.ts";

const OWNER = { network: "dbnet", containerId: "abc123" };
const CHAIN = "CNI-DN-2c9d881d1924f1d6a7733";
const COMMENT = '-m comment --comment "dnat name: \\"dbnet\\" id: \\"abc123\\""';
const BARE = new IptablesTable("nat", "*nat\n:PREROUTING ACCEPT [0:0]\n");

function mapping(hostPort: number, more: Partial<PortMapping> = {}): PortMapping {
  return { hostPort, containerPort: 80, protocol: "tcp", ...more };
}

function ports(more: Partial<IptablesPorts> = {}): IptablesPorts {
  return {
    mappings: [mapping(8080)],
    container: parseInet("10.0.0.2/24"),
    conditions: [],
    snat: true,
    masqAll: false,
    markBit: 13,
    ...more,
  };
}

function text(more: Partial<IptablesPorts> = {}, table = BARE): string {
  return additionText("nat", missing(table, hostPortsWanted(OWNER, ports(more))));
}

Deno.test("hostPortChains are the reference's", () => {
  assert.deepEqual(hostPortChains(OWNER), [CHAIN, "CNI-SN-2c9d881d1924f1d6a7733"]);
  const other = { network: "cbr0", containerId: "0123456789abcdef" };
  assert.equal(hostPortChains(other)[0], "CNI-DN-8cbe06c6d4b297670ecbf");
});

Deno.test("hostPortsWanted: everything for the first pod of a node", () => {
  assert.equal(
    text(),
    `*nat
-N CNI-HOSTPORT-SETMARK
-N CNI-HOSTPORT-MASQ
-N CNI-HOSTPORT-DNAT
-N ${CHAIN}
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-I POSTROUTING 1 -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A ${CHAIN} -s 10.0.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A ${CHAIN} -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A ${CHAIN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
-A CNI-HOSTPORT-DNAT ${COMMENT} -p tcp -m multiport --dports 8080 -j ${CHAIN}
COMMIT
`,
  );
});

Deno.test("hostPortsWanted: nothing is missing where all was printed by iptables-save", () => {
  const saved = `*nat
:CNI-HOSTPORT-SETMARK - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:${CHAIN} - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A ${CHAIN} -s 10.0.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A ${CHAIN} -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A ${CHAIN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
-A CNI-HOSTPORT-DNAT -p tcp ${COMMENT} -m multiport --dports 8080 -j ${CHAIN}
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
COMMIT
`;
  assert.equal(text({}, new IptablesTable("nat", saved)), "");
  const owner = new IptablesTable("nat", saved);
  assert.equal(
    hostPortsRemoval(owner, OWNER),
    `*nat
-D CNI-HOSTPORT-DNAT -p tcp ${COMMENT} -m multiport --dports 8080 -j ${CHAIN}
-F ${CHAIN}
-X ${CHAIN}
COMMIT
`,
  );
  assert.equal(hostPortsCollection(owner, "dbnet", new Set(["abc123"])), "");
  assert.equal(hostPortsCollection(owner, "other", new Set()), "");
  assert.equal(hostPortsCollection(owner, "dbnet", new Set()), hostPortsRemoval(owner, OWNER));
});

Deno.test("hostPortsWanted: entries hold 15 ports at most, by protocol, of both families", () => {
  const mappings = [
    ...Array.from({ length: 17 }, (_, i) => mapping(1000 + i)),
    mapping(7, { protocol: "udp", hostIp: "2001:db8::1" as Ip }),
    mapping(5, { protocol: "sctp" }),
  ];
  const found = text({ mappings }).split("\n").filter((line) => line.includes("--dports"));
  const dports = found.map((line) => /-p (\S+) .*--dports (\S+)/.exec(line)?.slice(1).join(" "));
  const all = Array.from({ length: 17 }, (_, i) => 1000 + i);
  assert.deepEqual(dports, [
    "sctp 5",
    `tcp ${all.slice(0, 15)}`,
    `tcp ${all.slice(15)}`,
    "udp 7",
  ]);
  assert.ok(!text({ mappings }).includes("--dport 7 "));
});

Deno.test("hostPortsWanted: the operator's words stand in the entries, and may say a line's end", () => {
  const lines = text({ conditions: ["-m", "comment", "--comment", 'a "b" c'] }).split("\n");
  const entry = lines.find((line) => line.includes("--dports")) ?? "";
  assert.ok(entry.endsWith(`--dports 8080 -m comment --comment "a \\"b\\" c" -j ${CHAIN}`), entry);
  assert.throws(() => text({ conditions: ["-s\n-X"] }), SyntaxError);
});

const TABLE = "ip cni_hostport";
const LISTING = parseListing(`table ip cni_hostport { # handle 1
	chain hostports { # handle 1
		tcp dport 9 dnat to 10.0.0.9:9 comment "other" # handle 11
		tcp dport 8080 dnat to 10.0.0.2:80 comment "abc123" # handle 12
	}

	chain hostip_hostports { # handle 2
		ip daddr 1.2.3.4 tcp dport 9 dnat to 10.0.0.2:80 comment "abc123" # handle 13
	}

	chain masquerading { # handle 3
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.0.0.2 ip daddr 10.0.0.2 masquerade comment "abc123" # handle 14
	}
}
`);
const OWN = `delete rule ${TABLE} hostports handle 12
delete rule ${TABLE} hostip_hostports handle 13
delete rule ${TABLE} masquerading handle 14
`;

Deno.test("hostPortsCommands: traffic to other machines is never translated", () => {
  for (const conditions of [[], ["ip", "saddr", "1.2.3.0/24"]]) {
    const commands = hostPortsCommands(new Map(), "abc123", ports({ conditions })).split("\n");
    for (const hook of ["prerouting", "output"]) {
      const words = [...conditions, "fib daddr type local jump hostports_all"].join(" ");
      assert.deepEqual(commands.filter((line) => line.startsWith(`add rule ${TABLE} ${hook} `)), [
        `add rule ${TABLE} ${hook} ${words}`,
      ]);
    }
  }
});

Deno.test("hostPortsCommands: a pod's older rules go in the same transaction", () => {
  const commands = hostPortsCommands(LISTING, "abc123", ports());
  assert.ok(commands.includes(OWN));
  assert.ok(commands.indexOf(OWN) < commands.indexOf('dnat to 10.0.0.2:80 comment "abc123"'));
});

Deno.test("hostPortsDeletion goes by the comment", () => {
  assert.equal(hostPortsDeletion(LISTING, 4, "abc123"), OWN);
  assert.equal(hostPortsDeletion(LISTING, 4, "abc"), "");
  assert.equal(hostPortsDeletion(new Map(), 6, "abc123"), "");
});

Deno.test("hostPortsLack names the chain that has too few", () => {
  assert.equal(hostPortsLack(LISTING, "abc123", ports({ snat: false })), undefined);
  assert.equal(hostPortsLack(LISTING, "abc123", ports()), "masquerading");
  assert.equal(hostPortsLack(LISTING, "abc123", ports({ masqAll: true })), undefined);
  const mappings = [mapping(8080), mapping(8081)];
  assert.equal(hostPortsLack(LISTING, "abc123", ports({ mappings })), "hostports");
  assert.equal(hostPortsLack(new Map(), "abc123", ports()), "hostports");
});

Deno.test("parseListing: sets, and rules without comment or handle, do not confuse it", () => {
  const listing = parseListing(`table ip x { # handle 1
	set s { # handle 5
		type ipv4_addr
		elements = { 1.2.3.4, 5.6.7.8 }
	}
	chain c { # handle 2
		comment "not a rule"
		tcp dport { 80, 443 } accept # handle 3
		tcp dport 1 accept comment "a # handle 9" # handle 4
	}
}
`);
  assert.deepEqual([...listing], [["c", [
    { handle: 3, text: "tcp dport { 80, 443 } accept", comment: "" },
    { handle: 4, text: 'tcp dport 1 accept comment "a # handle 9"', comment: "a # handle 9" },
  ]]]);
  assert.deepEqual([...parseListing("")], []);
});
