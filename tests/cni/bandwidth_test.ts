import fc from "fast-check";
import assert from "node:assert/strict";
import { bandwidthConfig, bucketOf, holds } from "../../cni/bandwidth/config.ts";
import { aliasOf, ownName, plainName } from "../../cni/bandwidth/ifb.ts";
import { OpError } from "../../engine/errors.ts";
import { Fields, parseJson } from "../../engine/json.ts";
import { Request } from "../../cni/plugin.ts";

/** A request of which only the configuration counts. */
function request(config: object): Request {
  return new Request({
    call: {
      type: "bandwidth",
      env: () => "",
      stdin: () => new Uint8Array(),
      log: () => {},
      mayBlock: true,
    },
    command: "ADD",
    environment: {
      command: "ADD",
      containerId: "abc123",
      netns: "",
      ifname: "eth0",
      args: "",
      path: "",
      allowOwnNetns: false,
    },
    bytes: new Uint8Array(),
    document: Fields.document(parseJson(JSON.stringify(config))),
    network: "dbnet",
    version: "1.0.0",
  });
}

for (
  const [title, limit, bucket] of [
    // What tc 6.1 computes for rate 1mbit burst 10000 latency 25ms, rate 40gbit burst 1000000.
    ["as tc", { rate: 1e6, burst: 80_000 }, { rate: 125_000, limit: 13_125, buffer: 1_250_000 }],
    ["64-bit rates", { rate: 4e10, burst: 8e6 }, { rate: 5e9, limit: 126e6, buffer: 3125 }],
    ["whole bytes", { rate: 17, burst: 9 }, { rate: 2, limit: 1, buffer: 7_812_500 }],
    // The burst that containerd passes, which no 32 bits of ticks can hold.
    ["containerd's burst", { rate: 1e6, burst: 0xffff_ffff }, {
      rate: 125_000,
      limit: 3125 + 0x1fff_ffff,
      buffer: 0xffff_ffff,
    }],
    ["the largest", { rate: 2 ** 53 - 1, burst: 8 * (2 ** 32 - 2) }, {
      rate: 2 ** 50 - 1,
      limit: 0xffff_ffff,
      buffer: 46,
    }],
  ] as const
) {
  Deno.test(`bucketOf: ${title}`, () => assert.deepEqual(bucketOf(limit), bucket));
}

Deno.test("bucketOf: always what the kernel's fields hold, and more burst is never less", () => {
  const rate = fc.integer({ min: 8, max: Number.MAX_SAFE_INTEGER });
  const burst = fc.integer({ min: 1, max: 8 * (2 ** 32 - 2) });
  fc.assert(fc.property(rate, burst, burst, (rate, a, b) => {
    const [less, more] = [Math.min(a, b), Math.max(a, b)].map((burst) => bucketOf({ rate, burst }));
    for (const bucket of [less!, more!]) {
      for (const value of Object.values(bucket)) {
        assert.ok(Number.isSafeInteger(value) && value >= 0);
      }
      assert.ok(bucket.limit < 2 ** 32 && bucket.buffer < 2 ** 32);
    }
    assert.ok(less!.limit <= more!.limit && less!.buffer <= more!.buffer);
  }));
});

Deno.test("holds: each number counts", () => {
  const bucket = bucketOf({ rate: 1e6, burst: 80_000 });
  assert.ok(holds(bucket, bucket));
  for (const name of ["rate", "limit", "buffer"] as const) {
    assert.ok(!holds({ ...bucket, [name]: bucket[name] + 1 }, bucket));
  }
});

const INGRESS = { ingressRate: 8000, ingressBurst: 80 };
const EGRESS = { egressRate: 16_000, egressBurst: 160 };

for (
  const [title, config, want] of [
    ["nothing", {}, {}],
    ["zeros", { ingressRate: 0, ingressBurst: 0 }, {}],
    ["both", { ...INGRESS, ...EGRESS }, {
      ingress: { rate: 8000, burst: 80 },
      egress: { rate: 16_000, burst: 160 },
    }],
    ["the runtime's, in capitals", {
      runtimeConfig: { bandwidth: { IngressRate: 8, IngressBurst: 8 } },
    }, {
      ingress: { rate: 8, burst: 8 },
    }],
    ["its own before the runtime's", { ...INGRESS, runtimeConfig: { bandwidth: EGRESS } }, {
      ingress: { rate: 8000, burst: 80 },
    }],
    [
      "one member of its own, even null",
      { egressRate: null, runtimeConfig: { bandwidth: EGRESS } },
      {},
    ],
    ["empty lists of subnets", { ...INGRESS, shapedSubnets: [] }, {
      ingress: { rate: 8000, burst: 80 },
    }],
  ] as const
) {
  Deno.test(`bandwidthConfig: ${title}`, () => {
    assert.deepEqual(bandwidthConfig(request(config)), want);
  });
}

for (
  const [title, config, code] of [
    ["a rate without a burst", { ingressRate: 8 }, 7],
    ["a burst without a rate", { egressBurst: 8 }, 7],
    ["the same from the runtime", { runtimeConfig: { bandwidth: { egressRate: 8 } } }, 7],
    ["a burst of 4 GB", { ingressRate: 8, ingressBurst: 8 * (2 ** 32 - 1) }, 7],
    ["less than a byte a second", { ingressRate: 7, ingressBurst: 8 }, 7],
    ["a negative rate", { ingressRate: -8, ingressBurst: 8 }, 7],
    ["a text", { ingressRate: "8", ingressBurst: 8 }, 7],
    ["a limit for some subnets", { ...INGRESS, unshapedSubnets: ["10.0.0.0/8"] }, 2],
  ] as const
) {
  Deno.test(`bandwidthConfig refuses ${title}`, () => {
    assert.throws(
      () => bandwidthConfig(request(config)),
      (error) => error instanceof OpError && error.code === code,
    );
  });
}

Deno.test("IFB devices: the reference's name, one of its own for another interface, 15 bytes", () => {
  const [first, second] = ["eth0", "net1"].map((ifname) => ({ containerId: "abc123", ifname }));
  assert.equal(plainName("dbnet", first!), "bwp2c9d881d1924");
  assert.equal(plainName("dbnet", second!), "bwp2c9d881d1924");
  const names = new Set([
    plainName("dbnet", first!),
    ownName("dbnet", first!),
    ownName("dbnet", second!),
  ]);
  assert.equal(names.size, 3);
  for (const name of names) assert.match(name, /^bwp[0-9a-f]{12}$/);
});

Deno.test("IFB devices: the alias is the comment of the reference's masquerade rules, cut", () => {
  const owner = { containerId: "abc123", ifname: "eth0" };
  assert.equal(
    aliasOf("dbnet", owner),
    "77fa157b4f32b23b-ebce0e3dd4dafae3, net: dbnet, if: eth0, id: abc123",
  );
  const long = { containerId: "x".repeat(300), ifname: "ñ" };
  assert.equal(aliasOf("dbnet", long).length, 128);
  assert.match(aliasOf("dbnet", long), /if: \?, id: x+$/);
});
