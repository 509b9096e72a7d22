import assert from "node:assert/strict";
import fc from "fast-check";
import {
  addressOf,
  type Cidr4,
  type Cidr6,
  inetOf,
  ipPlus,
  lengthOf,
  parseInet,
} from "../../engine/ip.ts";
import {
  formatSubnetEnv,
  parseSubnetEnv,
  readPreviousEnv,
  type SubnetEnv,
} from "../../engine/subnet_env.ts";
import * as any from "./arbitraries.ts";

const DUAL = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_IPV6_NETWORK=fd00:10:244::/56
FLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;
const DUAL_VALUE = {
  networks: ["10.244.0.0/16"],
  subnet: "10.244.1.1/24",
  networks6: ["fd00:10:244::/56"],
  subnet6: "fd00:10:244:1::1/64",
  mtu: 1450,
  ipMasq: true,
} as unknown as SubnetEnv;
const V4 = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n";
const V6 = "FLANNEL_IPV6_NETWORK=fd00::/56\nFLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\n";
const REST = "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";

Deno.test("the dual-stack file of the daemon, both ways", () => {
  assert.deepEqual(parseSubnetEnv(DUAL, "f"), DUAL_VALUE);
  assert.equal(formatSubnetEnv(DUAL_VALUE), DUAL);
});

const SAME: readonly (readonly [name: string, text: string])[] = [
  ["carriage returns", DUAL.replaceAll("\n", "\r\n")],
  ["comments, blank lines and unknown keys", `# x\n\nFLANNEL_X=1\nFLANNEL_X\n${DUAL}PATH=/bin\n`],
  ["no last line feed", DUAL.trimEnd()],
  ["any order", DUAL.split("\n").toReversed().join("\n")],
  ["the last of several", `FLANNEL_MTU=9000\nFLANNEL_NETWORK=10.0.0.0/8\n${DUAL}`],
  ["duplicate networks", DUAL.replace("10.244.0.0/16", "10.244.0.0/16,10.244.0.0/16")],
  ["a network with host bits", DUAL.replace("10.244.0.0/16", "10.244.7.9/16")],
  ["IPv6 in another spelling", DUAL.replace("fd00:10:244::/56", "FD00:10:244:0::/56")],
];
for (const [name, text] of SAME) {
  Deno.test(`parseSubnetEnv: ${name}`, () => {
    assert.deepEqual(parseSubnetEnv(text, "f"), DUAL_VALUE);
  });
}

Deno.test("parseSubnetEnv: one family leaves the other out", () => {
  const v4 = parseSubnetEnv(V4 + REST, "f");
  assert.deepEqual(v4, {
    networks: ["10.244.0.0/16"],
    subnet: "10.244.1.1/24",
    networks6: [],
    mtu: 1450,
    ipMasq: false,
  });
  const v6 = parseSubnetEnv(V6 + REST, "f");
  assert.deepEqual([v6.networks, v6.subnet, v6.subnet6], [[], undefined, "fd00:0:0:1::1/64"]);
  assert.equal(formatSubnetEnv(v4), V4 + REST);
  assert.equal(formatSubnetEnv(v6), V6 + REST);
});

Deno.test("parseSubnetEnv: several networks keep their order", () => {
  const text = DUAL.replace("10.244.0.0/16", "10.244.0.0/16,10.8.0.0/16");
  assert.deepEqual(parseSubnetEnv(text, "f").networks, ["10.244.0.0/16", "10.8.0.0/16"]);
  assert.equal(formatSubnetEnv(parseSubnetEnv(text, "f")), text);
});

for (const word of ["True", "1", "", "true ", "false"]) {
  Deno.test(`parseSubnetEnv: FLANNEL_IPMASQ=${JSON.stringify(word)} is false`, () => {
    const text = DUAL.replace("FLANNEL_IPMASQ=true", `FLANNEL_IPMASQ=${word}`);
    assert.equal(parseSubnetEnv(text, "f").ipMasq, false);
  });
}

const MISSING: readonly (readonly [text: string, names: string])[] = [
  [
    "",
    "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ",
  ],
  [V4, "FLANNEL_MTU, FLANNEL_IPMASQ"],
  [
    "FLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_IPMASQ=true",
    "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_MTU",
  ],
  ["FLANNEL_NETWORK=10.244.0.0/16\n" + REST, "FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET"],
];
for (const [text, names] of MISSING) {
  Deno.test(`parseSubnetEnv: names what is missing: ${names}`, () => {
    const message = `/run/flannel/subnet.env is missing ${names}`;
    const path = "/run/flannel/subnet.env";
    assert.throws(() => parseSubnetEnv(text, path), { name: "SyntaxError", message });
  });
}

const BAD: readonly (readonly [from: string, to: string, message: string])[] = [
  ["FLANNEL_MTU=1450", "FLANNEL_MTU", "f: FLANNEL_MTU has no value, want FLANNEL_MTU=…"],
  [
    "FLANNEL_MTU=1450",
    "FLANNEL_MTU=big",
    'f: FLANNEL_MTU: want an unsigned integer, got "big"',
  ],
  ["FLANNEL_MTU=1450", "FLANNEL_MTU=-1", 'f: FLANNEL_MTU: want an unsigned integer, got "-1"'],
  ["FLANNEL_MTU=1450", "FLANNEL_MTU=", 'f: FLANNEL_MTU: want an unsigned integer, got ""'],
  [
    "FLANNEL_SUBNET=10.244.1.1/24",
    "FLANNEL_SUBNET=10.244.1.1",
    'f: FLANNEL_SUBNET: invalid CIDR address "10.244.1.1"',
  ],
  [
    "FLANNEL_SUBNET=10.244.1.1/24",
    "FLANNEL_SUBNET=fd00::1/64",
    'f: FLANNEL_SUBNET: invalid IPv4 network "fd00::1/64"',
  ],
  [
    "FLANNEL_NETWORK=10.244.0.0/16",
    "FLANNEL_NETWORK=10.244.0.0/16,",
    'f: FLANNEL_NETWORK: invalid CIDR address ""',
  ],
  [
    "FLANNEL_IPV6_NETWORK=fd00:10:244::/56",
    "FLANNEL_IPV6_NETWORK=10.0.0.0/8",
    'f: FLANNEL_IPV6_NETWORK: invalid IPv6 network "10.0.0.0/8"',
  ],
];
for (const [from, to, message] of BAD) {
  Deno.test(`parseSubnetEnv: ${message}`, () => {
    const text = DUAL.replace(from, to);
    assert.throws(() => parseSubnetEnv(text, "f"), { name: "SyntaxError", message });
  });
}

const side = <T extends 4 | 6>(family: T) =>
  any.cidr(family, { max: 30 }).map((subnet) => ({
    network: subnet as T extends 4 ? Cidr4 : Cidr6,
    subnet: inetOf(ipPlus(addressOf(subnet as Cidr4), 1n), lengthOf(subnet)),
  }));

Deno.test("property: a subnet file reads back what was written", () => {
  const mtu = fc.integer({ min: 68, max: 65535 });
  const sides = fc.constantFrom([true, true], [true, false], [false, true]);
  fc.assert(
    fc.property(side(4), side(6), sides, mtu, fc.boolean(), (a, b, [v4, v6], mtu, ipMasq) => {
      const env: SubnetEnv = {
        networks: v4 ? [a.network] : [],
        ...(v4 && { subnet: a.subnet }),
        networks6: v6 ? [b.network] : [],
        ...(v6 && { subnet6: b.subnet }),
        mtu,
        ipMasq,
      };
      assert.deepEqual(parseSubnetEnv(formatSubnetEnv(env), "f"), env);
      const previous = readPreviousEnv(formatSubnetEnv(env));
      assert.equal(previous.subnet, v4 ? a.network : undefined);
      assert.equal(previous.subnet6, v6 ? b.network : undefined);
      assert.deepEqual(previous.notes, []);
    }),
  );
});

Deno.test("property: any text is a value or a SyntaxError", () => {
  const line = fc.oneof(
    fc.string(),
    fc.tuple(
      fc.constantFrom("FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"),
      fc.constantFrom("", "=", "=10.0.0.0/8", "=1", "=10.0.0.0/8,::/0", "=true"),
    ).map((parts) => parts.join("")),
  );
  fc.assert(fc.property(fc.array(line, { maxLength: 10 }), (lines) => {
    const text = lines.join("\n");
    readPreviousEnv(text);
    try {
      formatSubnetEnv(parseSubnetEnv(text, "f"));
    } catch (e) {
      assert.ok(e instanceof SyntaxError);
    }
  }));
});

Deno.test("readPreviousEnv: takes what it can and notes the rest", () => {
  const text = `export FLANNEL_NETWORK="10.244.0.0/16"
FLANNEL_SUBNET = '10.244.7.1/24' # mine
FLANNEL_IPV6_NETWORK=fd00::/56,nonsense
FLANNEL_IPV6_SUBNET=fd00::1/64,fd00:0:0:1::1/64
`;
  assert.deepEqual(readPreviousEnv(text), {
    networks: ["10.244.0.0/16"],
    networks6: ["fd00::/56"],
    subnet: "10.244.7.0/24",
    notes: [
      "FLANNEL_IPV6_SUBNET: more than one entry, none is used",
      'FLANNEL_IPV6_NETWORK: invalid CIDR address "nonsense"',
    ],
  });
  const twice = readPreviousEnv("FLANNEL_SUBNET=10.244.7.1/24,10.244.7.2/24\n");
  assert.deepEqual([twice.subnet, twice.notes], ["10.244.7.0/24", []]);
  assert.deepEqual(readPreviousEnv(""), { networks: [], networks6: [], notes: [] });
});

Deno.test("parseSubnetEnv keeps the host bits of the subnet", () => {
  const text = DUAL.replace("10.244.1.1/24", "10.244.1.0/24");
  assert.equal(parseSubnetEnv(text, "f").subnet, parseInet("10.244.1.0/24"));
});
