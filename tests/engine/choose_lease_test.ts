import assert from "node:assert/strict";
import fc from "fast-check";
import { chooseLease, type Claim, fits } from "../../engine/choose_lease.ts";
import { type Cidr4, type Cidr6, type Ip, overlaps, parseCidr, parseIp } from "../../engine/ip.ts";
import { type LeaseSubnets, leaseSubnets } from "../../engine/lease.ts";
import { type LeaseRanges, parseNetConf, validateForLeases } from "../../engine/net_conf.ts";

const V4 = ranges('{"Network":"10.3.0.0/16","Backend":{"Type":"vxlan"}}');
const DUAL = ranges(
  '{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{"Type":"vxlan"}}',
);
const TINY = ranges('{"Network":"10.3.0.0/28","Backend":{"Type":"vxlan"}}');
const ME = parseIp("192.168.0.7");

function ranges(conf: string): LeaseRanges {
  return validateForLeases(parseNetConf(conf));
}

function subnets(...texts: readonly string[]): LeaseSubnets {
  const all = texts.map(parseCidr);
  const [subnet, subnet6] = [all.find((c) => !c.includes(":")), all.find((c) => c.includes(":"))];
  return {
    ...(subnet && { subnet: subnet as Cidr4 }),
    ...(subnet6 && { subnet6: subnet6 as Cidr6 }),
  };
}

function claim(publicIp: Ip | undefined, texts: readonly string[], reserved = false): Claim {
  return { ...subnets(...texts), ...(publicIp && { publicIp }), reserved };
}

function held(holder: "us" | "another", publicIp: Ip, text: string): Claim {
  return { ...claim(publicIp, [text]), holder };
}

const other = parseIp("192.168.0.8");
const first = (): number => 0;
const last = (): number => 0.999999;

interface Row {
  readonly name: string;
  readonly claims: readonly Claim[];
  readonly ranges?: LeaseRanges;
  readonly previous?: LeaseSubnets;
  readonly random?: () => number;
  /** `keep 10.3.5.0/24`, `create …`, `create … (again 4)`, `full 4`; then `, remove …`. */
  readonly want: string;
}

const ROWS: readonly Row[] = [
  { name: "the first subnet of an empty store", claims: [], want: "create 10.3.1.0/24" },
  {
    name: "at most the hundredth free subnet",
    claims: [],
    random: last,
    want: "create 10.3.100.0/24",
  },
  {
    name: "a hundred free subnets are counted, not a hundred subnets",
    claims: [claim(other, ["10.3.1.0/24"]), claim(other, ["10.3.7.0/24"])],
    random: last,
    want: "create 10.3.102.0/24",
  },
  {
    name: "both families, each for itself",
    claims: [claim(other, ["10.3.1.0/24", "fc00:0:0:9::/64"])],
    ranges: DUAL,
    want: "create 10.3.2.0/24 fc00:0:0:1::/64",
  },
  {
    name: "the lease that names our address",
    claims: [claim(other, ["10.3.1.0/24"]), claim(ME, ["10.3.5.0/24"])],
    previous: subnets("10.3.9.0/24"),
    want: "keep 10.3.5.0/24",
  },
  {
    name: "of two own leases the one we had",
    claims: [claim(ME, ["10.3.5.0/24"]), claim(ME, ["10.3.9.0/24"])],
    previous: subnets("10.3.9.0/24"),
    want: "keep 10.3.9.0/24",
  },
  {
    name: "a reservation is kept",
    claims: [claim(ME, ["10.3.5.0/24"], true)],
    want: "keep 10.3.5.0/24",
  },
  {
    name: "an own lease outside the range goes",
    claims: [claim(ME, ["10.4.5.0/24"])],
    want: "create 10.3.1.0/24, remove 10.4.5.0/24",
  },
  {
    name: "an own lease of another length goes, and its place is free at once",
    claims: [claim(ME, ["10.3.0.0/20"])],
    want: "create 10.3.1.0/24, remove 10.3.0.0/20",
  },
  {
    name: "an own lease of another length goes, also one that begins in the range",
    claims: [claim(ME, ["10.3.16.0/20"])],
    want: "create 10.3.1.0/24, remove 10.3.16.0/20",
  },
  {
    name: "a reservation that does not fit stays, and so does what it covers",
    claims: [claim(ME, ["10.3.0.0/20"], true)],
    want: "create 10.3.16.0/24",
  },
  {
    name: "an IPv4 lease goes when IPv6 is switched on; its subnet is used again",
    claims: [claim(ME, ["10.3.5.0/24"])],
    ranges: DUAL,
    previous: subnets("10.3.5.0/24"),
    want: "create 10.3.5.0/24 fc00:0:0:1::/64 (again 4), remove 10.3.5.0/24",
  },
  {
    name: "a dual lease goes when IPv6 is switched off",
    claims: [claim(ME, ["10.3.5.0/24", "fc00:0:0:5::/64"])],
    previous: subnets("10.3.5.0/24", "fc00:0:0:5::/64"),
    want: "create 10.3.5.0/24 (again 4), remove 10.3.5.0/24 fc00:0:0:5::/64",
  },
  {
    name: "the previous subnet, when it is free",
    claims: [claim(other, ["10.3.1.0/24"])],
    previous: subnets("10.3.77.0/24"),
    want: "create 10.3.77.0/24 (again 4)",
  },
  {
    name: "not the previous subnet, when another node has it",
    claims: [claim(other, ["10.3.77.0/24"])],
    previous: subnets("10.3.77.0/24"),
    want: "create 10.3.1.0/24",
  },
  {
    name: "not the previous subnet, when it does not fit",
    claims: [],
    previous: subnets("10.4.77.0/24"),
    want: "create 10.3.1.0/24",
  },
  {
    name: "not the first subnet of the network, even as the previous one",
    claims: [],
    previous: subnets("10.3.0.0/24"),
    want: "create 10.3.1.0/24",
  },
  {
    name: "a record that cannot be read still holds its subnet",
    claims: [claim(undefined, ["10.3.1.0/24"])],
    want: "create 10.3.2.0/24",
  },
  {
    name: "whatever overlaps is taken",
    claims: [claim(other, ["10.3.0.0/23"]), claim(other, ["10.3.2.128/25"])],
    want: "create 10.3.3.0/24",
  },
  {
    name: "another node's lease is not shared, though it has our address",
    claims: [held("another", ME, "10.3.1.0/24")],
    previous: subnets("10.3.1.0/24"),
    want: "create 10.3.2.0/24",
  },
  {
    name: "another node's lease stays, though it has our address and does not fit",
    claims: [held("another", ME, "10.3.0.0/20")],
    want: "create 10.3.16.0/24",
  },
  {
    name: "our lease is ours, though our address has changed",
    claims: [held("us", other, "10.3.5.0/24")],
    want: "keep 10.3.5.0/24",
  },
  {
    name: "the lease that is ours for certain, before one that has our address",
    claims: [claim(ME, ["10.3.5.0/24"]), held("us", ME, "10.3.9.0/24")],
    want: "keep 10.3.9.0/24",
  },
  {
    name: "no subnet left",
    claims: ["10.3.0.4/30", "10.3.0.8/30", "10.3.0.12/30"].map((text) => claim(other, [text])),
    ranges: TINY,
    want: "full 4",
  },
];
for (const row of ROWS) {
  Deno.test(`chooseLease: ${row.name}`, () => {
    const choice = chooseLease({
      claims: row.claims,
      ranges: row.ranges ?? V4,
      publicIp: ME,
      previous: row.previous ?? {},
      random: row.random ?? first,
    });
    assert.equal(spell(choice), row.want);
  });
}

function spell(choice: ReturnType<typeof chooseLease>): string {
  const removed = choice.remove.flatMap((gone) => leaseSubnets(gone)).join(" ");
  const rest = removed === "" ? "" : `, remove ${removed}`;
  switch (choice.kind) {
    case "keep":
      return `keep ${leaseSubnets(choice.claim).join(" ")}${rest}`;
    case "create": {
      const again = choice.again.length === 0 ? "" : ` (again ${choice.again})`;
      return `create ${leaseSubnets(choice.subnets).join(" ")}${again}${rest}`;
    }
    case "full":
      return `full ${choice.family}${rest}`;
  }
}

Deno.test("chooseLease: a node without an address has no lease of its own", () => {
  const claims = [claim(undefined, ["10.3.1.0/24"])];
  const choice = chooseLease({ claims, ranges: V4, previous: {}, random: first });
  assert.equal(spell(choice), "create 10.3.2.0/24");
});

Deno.test("property: a chosen lease fits and overlaps nothing that stays", () => {
  const text = fc.tuple(fc.nat(15), fc.constantFrom(28, 29, 30, 31)).map(([i, length]) =>
    `10.3.0.${(i << (32 - length)) & 15 & ~((1 << (32 - length)) - 1)}/${length}`
  );
  const some = fc.array(
    fc.tuple(fc.constantFrom(ME, other, undefined), text, fc.boolean()).map(([ip, t, reserved]) =>
      claim(ip, [t], reserved)
    ),
    { maxLength: 5 },
  );
  const previous = fc.option(text.map((t) => subnets(t)), { nil: {} });
  fc.assert(
    fc.property(
      some,
      previous,
      fc.double({ min: 0, max: 0.99, noNaN: true }),
      (claims, previous, r) => {
        const input = {
          claims,
          ranges: TINY,
          publicIp: ME,
          previous,
          random: () => r,
        };
        const choice = chooseLease(input);
        assert.ok(choice.remove.every((c) => !c.reserved && c.publicIp === ME && !fits(c, TINY)));
        const stay = claims.filter((c) => !choice.remove.includes(c)).flatMap(leaseSubnets);
        switch (choice.kind) {
          case "keep":
            return assert.ok(fits(choice.claim, TINY) && choice.claim.publicIp === ME);
          case "create":
            assert.ok(fits(choice.subnets, TINY));
            return assert.ok(!stay.some((c) => overlaps(c, choice.subnets.subnet!)));
          case "full":
            for (const block of ["10.3.0.4/30", "10.3.0.8/30", "10.3.0.12/30"]) {
              assert.ok(stay.some((c) => overlaps(c, parseCidr(block))));
            }
        }
      },
    ),
  );
});
