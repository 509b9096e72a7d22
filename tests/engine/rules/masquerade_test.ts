import assert from "node:assert/strict";
import { parseInet } from "../../../engine/ip.ts";
import { parseMac } from "../../../engine/mac.ts";
import { additionText, IptablesTable, missing } from "../../../engine/rules/iptables.ts";
import { canGuard, macSpoofCommands, macSpoofDeletion } from "../../../engine/rules/mac_spoof.ts";
import {
  attachmentMark,
  masqueradeChain,
  masqueradeCollection,
  masqueradeCommands,
  masqueradeCount,
  masqueradeDeletion,
  masqueradeRemoval,
  masqueradeWanted,
} from "../../../engine/rules/masquerade.ts";
import { parseListing } from "../../../engine/rules/nft_listing.ts";

const POD = { network: "dbnet", containerId: "abc123", ifname: "eth0" };
const CHAIN = "CNI-2c9d881d1924f1d6a7733ee3";
const COMMENT = '-m comment --comment "name: \\"dbnet\\" id: \\"abc123\\""';
const EMPTY = new IptablesTable("nat", "*nat\n:POSTROUTING ACCEPT [0:0]\n");

Deno.test("masqueradeChain and attachmentMark are the reference's", () => {
  assert.equal(masqueradeChain(POD), CHAIN);
  const other = { network: "cbr0", containerId: "0123456789abcdef" };
  assert.equal(masqueradeChain(other), "CNI-8cbe06c6d4b297670ecbfdbd");
  assert.equal(attachmentMark(POD), "77fa157b4f32b23b-ebce0e3dd4dafae3");
});

Deno.test("masqueradeWanted: every network is accepted before anything is masqueraded", () => {
  const inets = ["10.1.2.2/24", "10.9.0.2/16"].map(parseInet);
  assert.equal(
    additionText("nat", missing(EMPTY, masqueradeWanted(POD, inets))),
    `*nat
-N ${CHAIN}
-I ${CHAIN} 1 -d 10.1.2.0/24 ${COMMENT} -j ACCEPT
-A ${CHAIN} ! -d 224.0.0.0/4 ${COMMENT} -j MASQUERADE
-A POSTROUTING -s 10.1.2.2/32 ${COMMENT} -j ${CHAIN}
-I ${CHAIN} 1 -d 10.9.0.0/16 ${COMMENT} -j ACCEPT
-A POSTROUTING -s 10.9.0.2/32 ${COMMENT} -j ${CHAIN}
COMMIT
`,
  );
  assert.equal(additionText("nat", missing(EMPTY, masqueradeWanted(POD, []))), "");
});

/** Two interfaces of one container, and jumps of other containers. */
const USED = new IptablesTable(
  "nat",
  `*nat
:POSTROUTING ACCEPT [0:0]
:${CHAIN} - [0:0]
:OTHER - [0:0]
-A POSTROUTING -s 10.1.2.2/32 ${COMMENT} -j ${CHAIN}
-A POSTROUTING -s 10.1.2.3/32 ${COMMENT} -j ${CHAIN}
-A POSTROUTING -s 10.1.2.4/32 -m comment --comment "name: \\"dbnet\\" id: \\"gone\\"" -j OTHER
-A ${CHAIN} ! -d 224.0.0.0/4 ${COMMENT} -j MASQUERADE
COMMIT
`,
);

Deno.test("masqueradeRemoval: the chain goes with its last jump", () => {
  const jump = (source: string): string => `-D POSTROUTING -s ${source} ${COMMENT} -j ${CHAIN}\n`;
  assert.equal(
    masqueradeRemoval(USED, CHAIN, (source) => source === "10.1.2.2/32"),
    `*nat\n${jump("10.1.2.2/32")}COMMIT\n`,
  );
  assert.equal(
    masqueradeRemoval(USED, CHAIN, () => true),
    `*nat\n${jump("10.1.2.2/32")}${jump("10.1.2.3/32")}-F ${CHAIN}\n-X ${CHAIN}\nCOMMIT\n`,
  );
  assert.equal(masqueradeRemoval(USED, CHAIN, () => false), "");
  assert.equal(masqueradeRemoval(EMPTY, CHAIN, () => true), "");
});

Deno.test("masqueradeCollection: only chains that are this network's by name and by hash", () => {
  assert.equal(masqueradeCollection(USED, "dbnet", new Set(["abc123", "gone"])), "");
  assert.equal(masqueradeCollection(USED, "other", new Set()), "");
  const text = masqueradeCollection(USED, "dbnet", new Set());
  assert.equal(text.split("\n").filter((line) => line.startsWith("-D")).length, 2);
  assert.ok(text.endsWith(`-F ${CHAIN}\n-X ${CHAIN}\nCOMMIT\n`));
});

const LISTING = parseListing(`table inet cni_plugins_masquerade { # handle 7
	chain masq_checks { # handle 1
		ip saddr 10.1.2.9 ip daddr != 10.1.2.0/24 masquerade comment "77fa157b4f32b23b-0123, net: dbnet" # handle 3
		ip saddr 10.1.2.2 ip daddr != 10.1.2.0/24 masquerade comment "77fa157b4f32b23b-ebce0e3dd4dafae3, net: dbnet, if: eth0, id: abc123" # handle 4
		ip saddr 10.1.2.8 ip daddr != 10.1.2.0/24 masquerade # handle 5
	}

	chain postrouting { # handle 2
		type nat hook postrouting priority srcnat; policy accept;
		ip daddr 224.0.0.0/4 return # handle 6
	}
}
`);

Deno.test("masqueradeCommands: an attachment's older rules go in the same transaction", () => {
  const commands = masqueradeCommands(LISTING, POD, [parseInet("2001:db8::2/64")]).split("\n");
  assert.deepEqual(commands.filter((line) => line.startsWith("delete")), [
    "delete rule inet cni_plugins_masquerade masq_checks handle 4",
  ]);
  assert.equal(
    commands.at(-2),
    "add rule inet cni_plugins_masquerade masq_checks ip6 saddr 2001:db8::2 " +
      'ip6 daddr != 2001:db8::/64 masquerade comment "77fa157b4f32b23b-ebce0e3dd4dafae3, ' +
      'net: dbnet, if: eth0, id: abc123"',
  );
});

Deno.test("masquerade comments have no quotes and at most 128 bytes", () => {
  const pod = { network: "n".repeat(100), containerId: "c".repeat(100), ifname: 'e"t"h' };
  const [, comment = ""] = /comment "(.*)"$/m.exec(
    masqueradeCommands(new Map(), pod, [parseInet("10.1.2.2/24")]),
  ) ?? [];
  assert.equal(comment.length, 128);
  assert.ok(!comment.includes('"'));
});

Deno.test("masqueradeDeletion and masqueradeCount go by the comment", () => {
  assert.equal(
    masqueradeDeletion(LISTING, (comment) => comment.startsWith(attachmentMark(POD))),
    "delete rule inet cni_plugins_masquerade masq_checks handle 4\n",
  );
  assert.equal(masqueradeDeletion(new Map(), () => true), "");
  assert.equal(masqueradeCount(LISTING, POD), 1);
  assert.equal(masqueradeCount(LISTING, { ...POD, ifname: "eth1" }), 0);
});

const SPOOF = parseListing(`table bridge nat { # handle 3
	chain PREROUTING { # handle 1
		type filter hook prerouting priority dstnat; policy accept;
		iifname "veth1" jump cni-br-iface-abc123-eth0 comment "macspoofchk-abc123-eth0" # handle 4
		iifname "veth2" jump cni-br-iface-abc123-eth01 comment "macspoofchk-abc123-eth01" # handle 8
	}

	chain cni-br-iface-abc123-eth0 { # handle 2
	}

	chain cni-br-iface-abc123-eth0-mac { # handle 3
	}
}
`);

Deno.test("macSpoofDeletion: the jump and both chains of that interface only", () => {
  const chain = "cni-br-iface-abc123-eth0";
  assert.equal(
    macSpoofDeletion(SPOOF, POD),
    `delete rule bridge nat PREROUTING handle 4
flush chain bridge nat ${chain}
flush chain bridge nat ${chain}-mac
delete chain bridge nat ${chain}
delete chain bridge nat ${chain}-mac
`,
  );
  assert.equal(macSpoofDeletion(new Map(), POD), "");
});

Deno.test("macSpoofCommands: drop stands behind the pod's own address; again is no more", () => {
  const commands = macSpoofCommands(SPOOF, POD, "veth9", parseMac("02:00:00:00:00:01")).split("\n");
  assert.equal(commands.filter((line) => line.startsWith("delete rule")).length, 1);
  const chain = "cni-br-iface-abc123-eth0";
  const comment = 'comment "macspoofchk-abc123-eth0"';
  assert.deepEqual(commands.slice(-5, -1), [
    `add rule bridge nat ${chain}-mac ether saddr 02:00:00:00:00:01 return ${comment}`,
    `add rule bridge nat ${chain}-mac drop ${comment}`,
    `add rule bridge nat ${chain} jump ${chain}-mac ${comment}`,
    `add rule bridge nat PREROUTING iifname "veth9" jump ${chain} ${comment}`,
  ]);
});

Deno.test("canGuard refuses what nft's language cannot name", () => {
  assert.equal(canGuard(POD), true);
  for (const ifname of ['a"b', "a;b", "a{", "ä", "a$b"]) {
    assert.equal(canGuard({ ...POD, ifname }), false);
  }
});
