/** Traces in iptables: which rules and chains go, and which tables with them. */

import assert from "node:assert/strict";
import { iptablesRemovals } from "../../install/iptables.ts";

const FLANNEL_NAT = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
:KUBE-POSTROUTING - [0:0]
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A KUBE-POSTROUTING -j RETURN
COMMIT
`;

/** How flannel did it before its chains came. */
const OLD_FLANNEL = `*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FORWARD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FORWARD -d 10.244.0.0/16 -m comment --comment "mine" -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
COMMIT
`;

const ID = "0123456789abcdef01234";
const pods = (dnat: string): string =>
  `*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-0123456789abcdef01234567 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
:CNI-DN-${ID} - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A POSTROUTING -s 10.244.1.2/32 -m comment --comment "name: \\"cbr0\\" id: \\"c1\\"" -j CNI-0123456789abcdef01234567
-A CNI-0123456789abcdef01234567 -d 10.244.1.0/24 -m comment --comment "name: \\"cbr0\\" id: \\"c1\\"" -j ACCEPT
${dnat}-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"c1\\"" -m multiport --dports 80 -j CNI-DN-${ID}
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
-A CNI-DN-${ID} -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.2:80
COMMIT
`;
const OTHER_POD =
  `-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"podman\\" id: \\"c9\\"" -m multiport --dports 81 -j CNI-DN-f${
    ID.slice(1)
  }\n`;

interface Row {
  readonly what: string;
  readonly save: string;
  readonly before?: readonly string[];
  /** Input for iptables-restore, or nft commands; words of each step. */
  readonly want: readonly (readonly [words: string, text: string])[];
}

const ROWS: readonly Row[] = [
  { what: "nothing", save: "", want: [] },
  {
    what: "flannel's chain goes with its jump; others stay",
    save: FLANNEL_NAT,
    before: [],
    want: [[
      "nat: chain FLANNEL-POSTRTG, 1 rule in POSTROUTING",
      `*nat
-D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-F FLANNEL-POSTRTG
-X FLANNEL-POSTRTG
COMMIT
`,
    ]],
  },
  {
    what: "flannel's older rules; a table that is empty then goes, if it came later",
    save: OLD_FLANNEL,
    before: ["ip filter"],
    want: [
      [
        "filter: 2 rules in FORWARD",
        `*filter
-D FORWARD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-D FORWARD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`,
      ],
      [
        "nat: 1 rule in POSTROUTING",
        `*nat
-D POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
COMMIT
`,
      ],
      ["ip nat", ""],
    ],
  },
  {
    what: "pods of ours, and what only they used",
    save: pods(""),
    before: ["ip nat"],
    want: [[
      `nat: chains CNI-0123456789abcdef01234567, CNI-DN-${ID}, CNI-HOSTPORT-DNAT, ` +
      "CNI-HOSTPORT-MASQ, CNI-HOSTPORT-SETMARK, 4 rules in PREROUTING, OUTPUT, POSTROUTING",
      "",
    ]],
  },
  {
    what: "host ports of other networks stay",
    save: pods(OTHER_POD),
    before: [],
    want: [[
      `nat: chains CNI-0123456789abcdef01234567, CNI-DN-${ID}, 2 rules in POSTROUTING, ` +
      "CNI-HOSTPORT-DNAT",
      "",
    ]],
  },
  {
    what: "an empty table whose age nobody knows stays",
    save: "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n",
    want: [],
  },
  {
    what: "an empty table with a policy that drops stays",
    save: "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n",
    before: [],
    want: [],
  },
  {
    what: "an empty table with a chain of somebody's stays",
    save: "*filter\n:FORWARD ACCEPT [0:0]\n:MINE - [0:0]\nCOMMIT\n",
    before: [],
    want: [],
  },
];

for (const { what, save, before, want } of ROWS) {
  Deno.test(`iptables: ${what}`, () => {
    const view = { program: "iptables-nft", nft: "ip", save } as const;
    const steps = iptablesRemovals(view, "cbr0", before).map((step) =>
      step.kind === "iptables"
        ? [step.what, step.input]
        : step.kind === "emptyTable"
        ? [step.table, ""]
        : assert.fail(step.kind)
    );
    assert.deepEqual(steps.map(([words]) => words), want.map(([words]) => words));
    for (const [i, [, text]] of want.entries()) {
      if (text !== "") assert.equal(steps[i]?.[1], text);
    }
  });
}

Deno.test("iptables: the legacy variant has no nft tables to take away", () => {
  const view = { program: "iptables-legacy", save: "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n" };
  assert.deepEqual(iptablesRemovals(view, "cbr0", []), []);
});
