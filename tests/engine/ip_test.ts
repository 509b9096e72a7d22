import assert from "node:assert/strict";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import {
  addressOf,
  bounds,
  type Cidr,
  cidrOf,
  contains,
  FAMILIES,
  familyOf,
  inetOf,
  type Ip,
  ipBytes,
  ipFromBytes,
  ipFromNumber,
  ipNumber,
  ipPlus,
  lastOf,
  lengthOf,
  networkOf,
  overlaps,
  parseCidr,
  parseCidr4,
  parseCidr6,
  parseInet,
  parseIp,
  parseIp4,
  parseIp6,
} from "../../engine/ip.ts";
import * as any from "./arbitraries.ts";

const CANONICAL: readonly (readonly [text: string, canonical: string])[] = [
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["::", "::"],
  ["::1", "::1"],
  ["1::", "1::"],
  ["0:0:0:0:0:0:0:0", "::"],
  ["FD00:10:244::", "fd00:10:244::"],
  ["2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
  ["0:0:1:0:0:0:0:0", "0:0:1::"],
  ["1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"],
  ["0:2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
  ["1:2:3:4:5:6::", "1:2:3:4:5:6::"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
  ["::ffff:1.2.3.4", "::ffff:1.2.3.4"],
  ["::ffff:102:304", "::ffff:1.2.3.4"],
  ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
  ["0:0:0:0:1:ffff:102:304", "::1:ffff:102:304"],
  ["::1.2.3.4", "::102:304"],
  ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
];
for (const [text, canonical] of CANONICAL) {
  Deno.test(`parseIp: ${text} is ${canonical}`, () => assert.equal(parseIp(text), canonical));
}

const BAD_ADDRESSES = [
  "",
  " ",
  "1",
  "1.2.3",
  "1.2.3.4.5",
  "1.2.3.256",
  "1.2.3.04",
  "01.2.3.4",
  "0x1.2.3.4",
  "1.2.3.4 ",
  " 1.2.3.4",
  "1.2.3.4\n",
  "+1.2.3.4",
  "1..2.3",
  ".1.2.3.4",
  "１.2.3.4",
  ":",
  ":::",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:",
  ":1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7::8",
  "::1:2:3:4:5:6:7:8",
  "1::2::3",
  "12345::",
  "g::",
  "::1%eth0",
  "[::1]",
  "::1\n",
  "1.2.3.4::",
  "::1.2.3.4:5",
  "::1.2.3.256",
  "::1.2.3",
  "1:2:3:4:5:6:7:1.2.3.4",
  "::ffff:01.2.3.4",
];
for (const text of BAD_ADDRESSES) {
  Deno.test(`parseIp: refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseIp(text), SyntaxError);
  });
}

Deno.test("parseIp4 and parseIp6 keep to their family", () => {
  assert.equal(parseIp4("10.0.0.1"), "10.0.0.1");
  assert.equal(parseIp6("::1"), "::1");
  assert.throws(() => parseIp4("::1"), SyntaxError);
  assert.throws(() => parseIp6("10.0.0.1"), SyntaxError);
});

const BAD_NETWORKS = [
  "10.0.0.0",
  "10.0.0.0/",
  "10.0.0.0/33",
  "10.0.0.0/08",
  "10.0.0.0/-1",
  "10.0.0.0/+8",
  "10.0.0.0/8 ",
  "10.0.0.0/8/8",
  "10.0.0.0/8.0",
  "10.0.0/24",
  "/24",
  "::/129",
  "::",
  "fd00::/1e1",
];
for (const text of BAD_NETWORKS) {
  Deno.test(`parseInet and parseCidr refuse ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseInet(text), SyntaxError);
    assert.throws(() => parseCidr(text), SyntaxError);
  });
}

Deno.test("parseCidr refuses host bits and proposes the network", () => {
  assert.throws(() => parseCidr("10.244.1.1/24"), /did you mean 10\.244\.1\.0\/24/);
  assert.equal(parseInet("10.244.1.1/24"), "10.244.1.1/24");
});

Deno.test("parseCidr4 and parseCidr6 keep to their family", () => {
  assert.equal(parseCidr4("0.0.0.0/0"), FAMILIES[4].any);
  assert.equal(parseCidr6("::/0"), FAMILIES[6].any);
  assert.equal(parseCidr6("FD00::0/64"), "fd00::/64");
  assert.throws(() => parseCidr4("::/0"), SyntaxError);
  assert.throws(() => parseCidr6("0.0.0.0/0"), SyntaxError);
});

Deno.test("numbers and lengths outside the family are RangeErrors", () => {
  assert.throws(() => ipFromNumber(4, 1n << 32n), RangeError);
  assert.throws(() => ipFromNumber(6, 1n << 128n), RangeError);
  assert.throws(() => ipFromNumber(4, -1n), RangeError);
  assert.throws(() => ipPlus(parseIp("255.255.255.255"), 1n), RangeError);
  assert.throws(() => ipPlus(parseIp("::"), -1n), RangeError);
  assert.throws(() => cidrOf(parseIp("10.0.0.0"), 33), RangeError);
  assert.throws(() => cidrOf(parseIp("10.0.0.0"), 1.5), RangeError);
  assert.throws(() => inetOf(parseIp("10.0.0.0"), -1), RangeError);
  assert.throws(() => ipFromBytes(new Uint8Array(5)), RangeError);
});

Deno.test("a network knows its parts", () => {
  const net = parseCidr("10.244.3.0/24");
  assert.equal(addressOf(net), "10.244.3.0");
  assert.equal(lengthOf(net), 24);
  assert.equal(lastOf(net), "10.244.3.255");
  assert.equal(networkOf(parseInet("fd00::5:6/112")), "fd00::5:0/112");
  assert.equal(lastOf(parseCidr("fd00::/64")), "fd00::ffff:ffff:ffff:ffff");
  assert.equal(inetOf(parseIp("10.244.3.1"), 24), "10.244.3.1/24");
});

Deno.test("overlaps and contains never cross families", () => {
  assert.equal(contains(FAMILIES[6].any, parseIp("10.0.0.1")), false);
  assert.equal(contains(FAMILIES[4].any, parseIp("::ffff:10.0.0.1")), false);
  assert.equal(overlaps(FAMILIES[4].any, FAMILIES[6].any), false);
});

for (const family of [4, 6] as const) {
  Deno.test(`oracle: an IPv${family} address prints as ipaddr.js prints it`, () => {
    fc.assert(fc.property(any.ipValue(family), (value) => {
      const text = ipFromNumber(family, value);
      const theirs = ipaddr.fromByteArray([...ipBytes(text)]);
      // ipaddr.js prints an IPv4-mapped address in hexadecimal; RFC 5952 §5 wants the dotted form.
      const mapped = theirs instanceof ipaddr.IPv6 && theirs.isIPv4MappedAddress();
      assert.equal(text, mapped ? `::ffff:${theirs.toIPv4Address()}` : rfc5952(theirs));
      assert.equal(ipNumber(text), value);
      assert.equal(parseIp(text), text);
      assert.equal(ipFromBytes(ipBytes(text)), text);
      assert.equal(familyOf(text), family);
    }));
  });

  Deno.test(`oracle: IPv${family} networks, bounds and membership agree with ipaddr.js`, () => {
    const bits = FAMILIES[family].bits;
    const near = fc.tuple(any.ip(family), fc.nat(bits), fc.integer({ min: -300, max: 300 }));
    fc.assert(fc.property(near, ([ip, length, step]) => {
      const net = cidrOf(ip, length);
      const Theirs = family === 4 ? ipaddr.IPv4 : ipaddr.IPv6;
      const inet = `${ip}/${length}`;
      assert.equal(ipNumber(addressOf(net)), number(Theirs.networkAddressFromCIDR(inet)));
      assert.equal(ipNumber(lastOf(net)), number(Theirs.broadcastAddressFromCIDR(inet)));
      const probe = clampedPlus(step < 0 ? addressOf(net) : lastOf(net), BigInt(step));
      assert.equal(contains(net, probe), ipaddr.parse(probe).match(ipaddr.parseCIDR(net)));
      assert.equal(contains(net, ip), true);
    }));
  });

  Deno.test(`two IPv${family} networks overlap when one holds the other's base`, () => {
    fc.assert(fc.property(any.cidr(family), any.cidr(family), (a, b) => {
      const [x, y] = [bounds(a), bounds(b)];
      assert.equal(overlaps(a, b), x.first <= y.last && y.first <= x.last);
      assert.equal(overlaps(a, b), overlaps(b, a));
      assert.equal(overlaps(a, a), true);
    }));
  });
}

/** Text near to an address: what a tired operator types. */
const almost = fc.oneof(
  fc.stringMatching(/^[0-9a-fA-F:.]{0,40}$/),
  fc.array(fc.constantFrom("::", ":", "0", "1", "ffff", "1.2.3.4", "00", "."), { maxLength: 12 })
    .map((parts) => parts.join("")),
  fc.string(),
);

Deno.test("oracle: parseIp accepts what ipaddr.js accepts, save its laxer spellings", () => {
  fc.assert(
    fc.property(almost, (text) => {
      let ours: Ip | undefined;
      try {
        ours = parseIp(text);
      } catch (e) {
        assert.ok(e instanceof SyntaxError);
      }
      const theirs = text.includes(":")
        ? ipaddr.IPv6.isValid(text)
        : ipaddr.IPv4.isValidFourPartDecimal(text);
      if (ours !== undefined) {
        assert.ok(theirs, `only we accept ${text}`);
        // ipaddr.js takes the deprecated `::1.2.3.4` for `::ffff:1.2.3.4`.
        if (!/^::[\d.]+$/.test(text)) assert.equal(ipNumber(ours), number(ipaddr.parse(text)));
      } else if (theirs) {
        assert.match(text, LAX, `only ipaddr.js accepts ${text}`);
      }
    }),
    { numRuns: 3000 },
  );
});

/** Accepted by ipaddr.js only: a leading zero in a quad, or a `::` that stands for nothing. */
const LAX = /(^|[.:])0\d+\.|\.0\d+|^([0-9a-f]{1,4}:|:){8}/i;

Deno.test("parseInet: any text is a value or a SyntaxError", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), almost.map((t) => `${t}/24`)), (text) => {
    let inet: Cidr;
    try {
      inet = networkOf(parseInet(text));
    } catch (e) {
      assert.ok(e instanceof SyntaxError);
      return;
    }
    assert.equal(parseCidr(inet), inet);
  }));
});

function rfc5952(ip: ipaddr.IPv4 | ipaddr.IPv6): string {
  return ip instanceof ipaddr.IPv6 ? ip.toRFC5952String() : ip.toString();
}

function number(ip: ipaddr.IPv4 | ipaddr.IPv6): bigint {
  return ip.toByteArray().reduce((value, b) => (value << 8n) | BigInt(b), 0n);
}

function clampedPlus(ip: Ip, step: bigint): Ip {
  const value = ipNumber(ip) + step;
  const max = (1n << BigInt(FAMILIES[familyOf(ip)].bits)) - 1n;
  return ipFromNumber(familyOf(ip), value < 0n ? 0n : value > max ? max : value);
}
