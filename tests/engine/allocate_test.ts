import assert from "node:assert/strict";
import fc from "fast-check";
import {
  allocate,
  type AllocRange,
  freeBlocks,
  overlapsAny,
  rangeOf,
} from "../../engine/allocate.ts";
import {
  addressOf,
  bounds,
  type Cidr,
  cidrOf,
  FAMILIES,
  type Family,
  familyOf,
  type Ip,
  ipFromNumber,
  ipNumber,
  lengthOf,
  overlaps,
  parseCidr,
  parseIp,
} from "../../engine/ip.ts";
import * as any from "./arbitraries.ts";
import { assertSoon } from "../soon.ts";

const none = (): boolean => false;

function range(first: string, last: string, length: number): AllocRange {
  return { first: parseIp(first), last: parseIp(last), length };
}

interface Row {
  readonly name: string;
  readonly ranges: readonly AllocRange[];
  readonly taken?: readonly string[];
  readonly after?: string;
  readonly want: readonly string[];
}

const A = range("10.0.0.4", "10.0.0.6", 32);
const B = range("10.0.1.250", "10.0.1.251", 32);
const ROWS: readonly Row[] = [
  {
    name: "addresses come in order, range after range",
    ranges: [A, B],
    want: ["10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32", "10.0.1.250/32", "10.0.1.251/32"],
  },
  {
    name: "the search starts behind the last address and ends with it",
    ranges: [A, B],
    after: "10.0.0.5",
    want: ["10.0.0.6/32", "10.0.1.250/32", "10.0.1.251/32", "10.0.0.4/32", "10.0.0.5/32"],
  },
  {
    name: "behind the last address of the last range comes the first of the first",
    ranges: [A, B],
    after: "10.0.1.251",
    want: ["10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32", "10.0.1.250/32", "10.0.1.251/32"],
  },
  {
    name: "an address outside every range changes nothing",
    ranges: [B],
    after: "10.0.0.5",
    want: ["10.0.1.250/32", "10.0.1.251/32"],
  },
  {
    name: "an address of the other family changes nothing",
    ranges: [B],
    after: "fd00::1",
    want: ["10.0.1.250/32", "10.0.1.251/32"],
  },
  {
    name: "taken addresses are skipped",
    ranges: [A],
    taken: ["10.0.0.4/32", "10.0.0.6/32"],
    want: ["10.0.0.5/32"],
  },
  {
    name: "subnets of a node: the last one begins at the range's last address",
    ranges: [range("10.3.253.0", "10.3.255.0", 24)],
    want: ["10.3.253.0/24", "10.3.254.0/24", "10.3.255.0/24"],
  },
  {
    name: "a range that begins between two blocks begins with the second",
    ranges: [range("10.3.1.1", "10.3.3.255", 24)],
    want: ["10.3.2.0/24", "10.3.3.0/24"],
  },
  {
    name: "any address of a block stands for the block",
    ranges: [range("10.3.1.0", "10.3.3.0", 24)],
    after: "10.3.2.77",
    want: ["10.3.3.0/24", "10.3.1.0/24", "10.3.2.0/24"],
  },
  {
    name: "IPv6 subnets",
    ranges: [range("fc00:0:0:fffe::", "fc00:0:0:ffff::", 64)],
    want: ["fc00:0:0:fffe::/64", "fc00:0:0:ffff::/64"],
  },
  {
    name: "the last address of the family does not overflow",
    ranges: [range("255.255.255.254", "255.255.255.255", 32)],
    after: "255.255.255.255",
    want: ["255.255.255.254/32", "255.255.255.255/32"],
  },
  {
    name: "a range that ends before it begins is empty",
    ranges: [range("10.0.0.6", "10.0.0.4", 32)],
    after: "10.0.0.5",
    want: [],
  },
  { name: "no range, no block", ranges: [], want: [] },
];
for (const row of ROWS) {
  Deno.test(`freeBlocks: ${row.name}`, () => {
    const taken = new Set(row.taken ?? []);
    const after = row.after === undefined ? undefined : parseIp(row.after);
    const blocks = [...freeBlocks(row.ranges, (block) => taken.has(block), after)];
    assert.deepEqual(blocks, row.want);
    assert.equal(allocate(row.ranges, (block) => taken.has(block), after), row.want[0]);
  });
}

Deno.test("freeBlocks asks lazily, so a lost race costs one more question", () => {
  const asked: Cidr[] = [];
  const blocks = freeBlocks([A], (block) => (asked.push(block), false));
  assert.equal(blocks.next().value, "10.0.0.4/32");
  assert.equal(blocks.next().value, "10.0.0.5/32");
  assert.deepEqual(asked, ["10.0.0.4/32", "10.0.0.5/32"]);
});

Deno.test("a range of mixed families or of impossible length is a RangeError", () => {
  const { first } = A;
  assert.throws(() => allocate([{ first, last: parseIp("::1"), length: 32 }], none), RangeError);
  for (const length of [33, -1, 1.5]) {
    assert.throws(() => allocate([{ ...A, length }], none), RangeError);
  }
});

/** A few small ranges of one family with a gap between any two, and some address. */
const scene = any.family.chain((family) =>
  fc.record({
    ranges: fc.array(fc.record({ skip: fc.integer({ min: 1, max: 9 }), size: fc.nat(9) }), {
      maxLength: 4,
    }),
    length: fc.integer({ min: FAMILIES[family].bits - 10, max: FAMILIES[family].bits }),
    base: any.cidr(family, { max: FAMILIES[family].bits - 20 }),
    pick: fc.nat(80),
    jitter: fc.nat(1023),
    takenBits: fc.bigInt({ min: 0n, max: (1n << 80n) - 1n }),
  }).map((raw) => build(family, raw))
);

function build(
  family: Family,
  raw: {
    ranges: { skip: number; size: number }[];
    length: number;
    base: Cidr;
    pick: number;
    jitter: number;
    takenBits: bigint;
  },
): { ranges: AllocRange[]; all: Cidr[]; taken: Set<Cidr>; after: Ip } {
  const step = 1n << BigInt(FAMILIES[family].bits - raw.length);
  const at = (i: number): Ip => ipFromNumber(family, bounds(raw.base).first + BigInt(i) * step);
  const [ranges, all]: [AllocRange[], Cidr[]] = [[], []];
  let next = 0;
  for (const { skip, size } of raw.ranges) {
    const first = next + skip;
    next = first + size;
    ranges.push({ first: at(first), last: at(next), length: raw.length });
    for (let i = first; i <= next; i++) all.push(cidrOf(at(i), raw.length));
  }
  const taken = new Set(all.filter((_, i) => ((raw.takenBits >> BigInt(i)) & 1n) === 1n));
  const inside = ipNumber(at(raw.pick)) + (BigInt(raw.jitter) % step);
  return { ranges, all, taken, after: ipFromNumber(family, inside) };
}

Deno.test("property: freeBlocks yields each free block once and no taken one", () => {
  fc.assert(fc.property(scene, fc.boolean(), ({ ranges, all, taken, after }, useAfter) => {
    const got = [...freeBlocks(ranges, (b) => taken.has(b), useAfter ? after : undefined)];
    assert.deepEqual(got.toSorted(), all.filter((b) => !taken.has(b)).toSorted());
    assert.equal(new Set(got).size, got.length);
  }));
});

Deno.test("property: allocate finds a block if and only if one is free", () => {
  fc.assert(fc.property(scene, ({ ranges, all, taken, after }) => {
    const got = allocate(ranges, (b) => taken.has(b), after);
    assert.equal(got === undefined, all.every((b) => taken.has(b)));
    assert.ok(got === undefined || (all.includes(got) && !taken.has(got)));
  }));
});

Deno.test("property: the order wraps, and the block of `after` comes last", () => {
  fc.assert(fc.property(scene, ({ ranges, all, after }) => {
    const length = ranges[0]?.length ?? 0;
    const at = all.indexOf(cidrOf(after, length));
    const want = [...all.slice(at + 1), ...all.slice(0, at + 1)];
    assert.deepEqual([...freeBlocks(ranges, none, after)], want);
  }));
});

Deno.test("property: handing out one after another never repeats before all were used", () => {
  fc.assert(fc.property(scene, ({ ranges, all }) => {
    let after: Ip | undefined;
    const seen: Cidr[] = [];
    for (const _ of all) {
      const block = allocate(ranges, none, after);
      assert.ok(block !== undefined);
      seen.push(block);
      after = addressOf(block);
    }
    assert.deepEqual(seen, all);
  }));
});

Deno.test("property: overlapsAny says what a walk with overlaps says", () => {
  const nets = fc.array(any.family.chain((f) => any.cidr(f)), { maxLength: 30 });
  // Near neighbours make it hard: networks inside, beside and around each other.
  const near = fc.array(
    fc.tuple(fc.nat(4095), fc.integer({ min: 20, max: 32 })).map(([n, length]) =>
      cidrOf(ipFromNumber(4, 0x0a000000n + BigInt(n)), length)
    ),
    { maxLength: 30 },
  );
  fc.assert(fc.property(fc.oneof(nets, near), fc.oneof(nets, near), (networks, probes) => {
    const test = overlapsAny(networks);
    for (const probe of probes) {
      assert.equal(test(probe), networks.some((network) => overlaps(network, probe)));
    }
  }));
});

Deno.test("overlapsAny: touching is not overlapping, sharing one address is", () => {
  const test = overlapsAny(
    ["10.0.0.5/32", "10.0.0.5/32", "10.0.0.8/30", "fd00::/64"].map(parseCidr),
  );
  const shared = [
    "10.0.0.5/32",
    "10.0.0.8/32",
    "10.0.0.11/32",
    "10.0.0.4/31",
    "fd00::/128",
    "::/0",
  ];
  const apart = ["10.0.0.4/32", "10.0.0.6/32", "10.0.0.7/32", "10.0.0.12/32", "fd00:0:0:1::/64"];
  assert.deepEqual(shared.map(parseCidr).map(test), shared.map(() => true));
  assert.deepEqual(apart.map(parseCidr).map(test), apart.map(() => false));
});

Deno.test("rangeOf covers a network from its first block to its last", () => {
  for (const text of ["10.3.0.0/16", "fc00::/56", "10.3.0.0/24"]) {
    const network = parseCidr(text);
    const length = familyOf(network) === 4 ? 24 : 64;
    const blocks = [...freeBlocks([rangeOf(network, length)], none)];
    assert.equal(blocks.length, 2 ** (length - lengthOf(network)));
    assert.equal(addressOf(blocks[0]!), addressOf(network));
    assert.equal(bounds(blocks.at(-1)!).last, bounds(network).last);
  }
});

Deno.test("allocate is quick: a full /16 of /24 blocks, an empty /48 of /64, a full /16 of pods", () => {
  // 0.1 s on a quiet machine; the gate only catches work that grows with the address space.
  assertSoon(2000, () => {
    const nodes = overlapsAny([parseCidr("10.3.0.0/17"), parseCidr("10.3.128.0/17")]);
    assert.equal(allocate([range("10.3.1.0", "10.3.255.0", 24)], nodes), undefined);
    assert.equal(allocate([range("fc00:0:0:1::", "fc00:0:0:ffff::", 64)], none), "fc00:0:0:1::/64");
    assert.equal(allocate([range("fc00::", "fc00:0:0:ffff::", 128)], none), "fc00::/128");
    const pods = new Set(freeBlocks([range("10.3.0.0", "10.3.255.255", 32)], none));
    assert.equal(allocate([range("10.3.0.0", "10.3.255.255", 32)], (b) => pods.has(b)), undefined);
  });
});
