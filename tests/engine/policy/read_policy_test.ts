import assert from "node:assert/strict";
import fc from "fast-check";
import { readPolicy } from "../../../engine/policy/read_policy.ts";

const metadata = { name: "p", namespace: "x" };

/** Specs that cannot be enforced as they stand: what is closed for whom, and why. */
const FAULTS: readonly (readonly [
  title: string,
  spec: unknown,
  fault: RegExp,
  closed: string,
  targets: string,
])[] = [
  [
    "a peer of a kind that we do not know",
    { podSelector: {}, ingress: [{ from: [{ serviceSelector: {} }] }] },
    /^spec\.ingress\[0\]\.from\[0\]\.serviceSelector: this field is not known here$/,
    "ingress",
    "",
  ],
  [
    "a rule with a field that we do not know",
    { podSelector: {}, egress: [{ to: [], when: "night" }] },
    /^spec\.egress\[0\]\.when: /,
    "ingress egress",
    "",
  ],
  [
    "a field beside the rules that we do not know",
    { podSelector: { matchLabels: { a: "b" } }, audit: true },
    /^spec\.audit: /,
    "ingress egress",
    "",
  ],
  [
    "a network that is none",
    {
      podSelector: { matchLabels: { a: "b" } },
      ingress: [{ from: [{ ipBlock: { cidr: "10/8" } }] }],
    },
    /^spec\.ingress\[0\]\.from\[0\]\.ipBlock\.cidr: want a network such as 10\.0\.0\.0\/8, got "10\/8"$/,
    "ingress",
    "a=b",
  ],
  [
    "an exception outside of its network",
    {
      policyTypes: ["Egress"],
      egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] } }] }],
    },
    /except\[0\]: want a network within 10\.0\.0\.0\/8, got "11\.0\.0\.0\/8"$/,
    "egress",
    "",
  ],
  [
    "an exception of another family",
    { ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["fd00::/8"] } }] }] },
    /except\[0\]: want a network within/,
    "ingress",
    "",
  ],
  [
    "a peer that is nobody",
    { ingress: [{ from: [{}] }] },
    /from\[0\]: want either selectors or an ipBlock$/,
    "ingress",
    "",
  ],
  [
    "a peer that is two things",
    { ingress: [{ from: [{ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }] }] },
    /from\[0\]: want either/,
    "ingress",
    "",
  ],
  [
    "a port that is none",
    { ingress: [{ ports: [{ port: 0 }] }] },
    /port: want 1 to 65535/,
    "ingress",
    "",
  ],
  [
    "a range that runs backwards",
    { ingress: [{ ports: [{ port: 80, endPort: 79 }] }] },
    /endPort: want 80 to 65535, got 79$/,
    "ingress",
    "",
  ],
  [
    "a range from a name",
    { ingress: [{ ports: [{ port: "web", endPort: 90 }] }] },
    /endPort: a named port has no end$/,
    "ingress",
    "",
  ],
  [
    "a range from nowhere",
    { ingress: [{ ports: [{ endPort: 90 }] }] },
    /endPort: there is no port/,
    "ingress",
    "",
  ],
  [
    "a number as text",
    { ingress: [{ ports: [{ port: "80" }] }] },
    /port: want a number or a port's name, got "80"$/,
    "ingress",
    "",
  ],
  [
    "a name that is nft",
    { ingress: [{ ports: [{ port: "a } b" }] }] },
    /port: want a number or a port's name/,
    "ingress",
    "",
  ],
  [
    "a protocol that we do not know",
    { ingress: [{ ports: [{ protocol: "QUIC", port: 443 }] }] },
    /protocol: want TCP, UDP or SCTP, got "QUIC"$/,
    "ingress",
    "",
  ],
  [
    "a type that we do not know",
    { podSelector: { matchLabels: { a: "b" } }, policyTypes: ["Ingress", "Sideways"] },
    /^spec\.policyTypes: want Ingress or Egress, got "Sideways"$/,
    "ingress egress",
    "a=b",
  ],
  [
    "an operator that we do not know, in its own selector",
    { podSelector: { matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] } },
    /^spec\.podSelector\.matchExpressions\[0\]\.operator: want In, NotIn, Exists or DoesNotExist/,
    "ingress egress",
    "",
  ],
  [
    "In without values",
    { podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } },
    /values: In wants some$/,
    "ingress egress",
    "",
  ],
  [
    "Exists with values",
    { podSelector: { matchExpressions: [{ key: "a", operator: "Exists", values: ["x"] }] } },
    /values: Exists takes none$/,
    "ingress egress",
    "",
  ],
  ["a spec that is no object", "all", /^spec: want an object, got "all"$/, "ingress egress", ""],
  [
    "rules that are no list",
    { ingress: {} },
    /^spec\.ingress: want a list, got \{\}$/,
    "ingress",
    "",
  ],
];

for (const [title, spec, fault, closed, targets] of FAULTS) {
  Deno.test(`readPolicy: ${title}: closed for its targets, and said`, () => {
    const policy = readPolicy({ metadata, spec });
    assert.match(policy.fault ?? "", fault);
    assert.deepEqual(
      [policy.ingress && "ingress", policy.egress && "egress"].filter(Boolean).join(" "),
      closed,
    );
    assert.deepEqual([policy.ingress ?? [], policy.egress ?? []], [[], []]);
    assert.equal(policy.targets.text, targets);
  });
}

Deno.test("readPolicy: networks as old objects have them", () => {
  const blocks = [
    ["10.0.0.7/8", "10.0.0.0/8"],
    ["010.0.0.0/8", "10.0.0.0/8"],
    ["::ffff:10.0.0.0/104", "10.0.0.0/8"],
    ["fd00::1/64", "fd00::/64"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["192.168.001.000/24", "192.168.1.0/24"],
  ];
  const from = blocks.map(([cidr]) => ({ ipBlock: { cidr } }));
  const { ingress, fault } = readPolicy({ metadata, spec: { ingress: [{ from }] } });
  assert.equal(fault, undefined);
  assert.deepEqual(
    ingress?.[0]?.peers?.map((peer) => peer.kind === "block" && peer.cidr),
    blocks.map(([, want]) => want),
  );
});

Deno.test("readPolicy: null counts as absent, everywhere", () => {
  const nothing = { podSelector: null, policyTypes: null, ingress: null, egress: null, x: null };
  const policy = readPolicy({ metadata, spec: nothing });
  assert.equal(policy.fault, undefined);
  assert.deepEqual(policy.ingress, []);
  assert.equal(policy.egress, undefined);
  const rule = { from: [{ podSelector: {}, namespaceSelector: null, ipBlock: null }], ports: null };
  assert.equal(readPolicy({ metadata, spec: { ingress: [rule] } }).ingress?.[0]?.ports, undefined);
});

Deno.test("readPolicy: an object without a name is an error", () => {
  assert.throws(() => readPolicy({ metadata: { name: "p" }, spec: {} }), SyntaxError);
  assert.throws(() => readPolicy(null), SyntaxError);
});

Deno.test("readPolicy: whatever the spec is, there is a policy, and none allows more for a fault", () => {
  fc.assert(fc.property(fc.jsonValue(), (spec) => {
    const policy = readPolicy({ metadata, spec });
    if (policy.fault === undefined) return;
    assert.ok(policy.ingress !== undefined || policy.egress !== undefined);
    assert.equal((policy.ingress ?? []).length + (policy.egress ?? []).length, 0);
  }));
});
