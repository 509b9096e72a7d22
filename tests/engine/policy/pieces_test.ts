import assert from "node:assert/strict";
import fc from "fast-check";
import { contains, type Family, ipFromNumber, parseCidr, parseIp } from "../../../engine/ip.ts";
import { compile, PolicyCompiler, UNKNOWN_CHAIN } from "../../../engine/policy/compile.ts";
import { keyOf, saysSame } from "../../../engine/policy/model.ts";
import { rangesOf, rangeText } from "../../../engine/policy/ranges.ts";
import { readPod } from "../../../engine/policy/read_objects.ts";
import { readPolicy, readSelector } from "../../../engine/policy/read_policy.ts";
import { matches } from "../../../engine/policy/selector.ts";
import { LAST_GENERATION, nextGeneration } from "../../../engine/policy/table.ts";
import { cidr, family, ipValue } from "../arbitraries.ts";
import { policyObject, Scene } from "./language.ts";
import { readCluster } from "./nodes.ts";

Deno.test("rangesOf: networks without exceptions, disjoint, with gaps between", () => {
  const text = (cidrs: readonly (readonly [string, ...string[]])[], of: Family): string[] =>
    rangesOf(
      cidrs.map(([net, ...except]) => ({ cidr: parseCidr(net), except: except.map(parseCidr) })),
      of,
    )
      .map((range) => rangeText(of, range));
  assert.deepEqual(text([["10.0.0.0/30", "10.0.0.1/32"]], 4), ["10.0.0.0", "10.0.0.2-10.0.0.3"]);
  // What one leaves out, another may have.
  assert.deepEqual(text([["10.0.0.0/30", "10.0.0.1/32"], ["10.0.0.1/32"]], 4), [
    "10.0.0.0-10.0.0.3",
  ]);
  assert.deepEqual(text([["10.0.0.0/31"], ["10.0.0.2/31"], ["fd00::/16"]], 4), [
    "10.0.0.0-10.0.0.3",
  ]);
  assert.deepEqual(text([["0.0.0.0/0"], ["::/0"]], 6), ["::/0"]);
  assert.deepEqual(text([["10.0.0.0/31", "10.0.0.0/32", "10.0.0.1/32"]], 4), []);
  assert.deepEqual(text([["::/0", "8000::/1"]], 6), ["::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
});

Deno.test("rangesOf: an address is in a range exactly when it is in a block", () => {
  const blocks = family.chain((of) =>
    fc.record({
      of: fc.constant(of),
      blocks: fc.array(
        fc.record({ cidr: cidr(of), except: fc.array(cidr(of), { maxLength: 3 }) }),
        {
          maxLength: 4,
        },
      ),
      value: ipValue(of),
    })
  );
  fc.assert(fc.property(blocks, ({ of, blocks, value }) => {
    const ranges = rangesOf(blocks, of);
    for (const [i, { first, last }] of ranges.entries()) {
      assert.ok(first <= last);
      assert.ok(i === 0 || (ranges[i - 1]?.last ?? 0n) + 1n < first);
    }
    // Edges are where it goes wrong.
    const edges = ranges.flatMap(({ first, last }) => [first - 1n, first, last, last + 1n]);
    const end = 1n << BigInt(of === 4 ? 32 : 128);
    for (const at of [value, ...edges].filter((at) => at >= 0n && at < end)) {
      const ip = ipFromNumber(of, at);
      const want = blocks.some(({ cidr, except }) =>
        contains(cidr, ip) && !except.some((net) => contains(net, ip))
      );
      assert.equal(ranges.some(({ first, last }) => first <= at && at <= last), want, ip);
    }
  }));
});

Deno.test("selectors that mean the same are the same text", () => {
  const text = (selector: unknown): string => readSelector(selector, "s").text;
  const pod = (operator: string, ...values: string[]): unknown => ({
    key: "pod",
    operator,
    values,
  });
  assert.equal(text({ matchLabels: { pod: "a" } }), text({ matchExpressions: [pod("In", "a")] }));
  assert.equal(
    text({ matchExpressions: [pod("In", "b", "a", "b")] }),
    text({ matchExpressions: [pod("In", "a", "b")] }),
  );
  assert.equal(
    text({ matchLabels: { b: "1", a: "2" }, matchExpressions: [pod("NotIn", "x")] }),
    "a=2,b=1,pod notin (x)",
  );
  assert.equal(text({ matchExpressions: [{ key: "t", operator: "DoesNotExist" }] }), "!t");
  assert.equal(text({}), "");
});

Deno.test("selectors with odd letters are never taken for others", () => {
  const selector = fc.array(fc.tuple(fc.string({ minLength: 1 }), fc.string()), { maxLength: 3 });
  fc.assert(fc.property(selector, selector, (a, b) => {
    const read = (pairs: [string, string][]): ReturnType<typeof readSelector> =>
      readSelector({ matchLabels: Object.fromEntries(pairs) }, "s");
    const [one, other] = [read(a), read(b)];
    if (one.text === other.text) assert.deepEqual(one, other);
  }));
});

Deno.test("NotIn and DoesNotExist match objects without the key; an empty value is a value", () => {
  const tier = (operator: string, values?: string[]): ReturnType<typeof readSelector> =>
    readSelector(
      { matchExpressions: [{ key: "tier", operator, ...(values ? { values } : {}) }] },
      "s",
    );
  const none = new Map<string, string>();
  const empty = new Map([["tier", ""]]);
  assert.equal(matches(tier("NotIn", ["db"]), none), true);
  assert.equal(matches(tier("DoesNotExist"), none), true);
  assert.equal(matches(tier("Exists"), empty), true);
  assert.equal(matches(tier("In", [""]), empty), true);
  assert.equal(matches(tier("In", [""]), none), false);
});

Deno.test("generations go round and leave out 0, the mark of whoever was never judged", () => {
  assert.equal(nextGeneration(1), 2);
  assert.equal(nextGeneration(LAST_GENERATION), 1);
});

Deno.test("held addresses allow nothing, whatever policies say of who had them", () => {
  const scene = new Scene();
  const cluster = readCluster({
    namespaces: [...scene.namespaces.values()],
    pods: [...scene.pods.values()],
    policies: [policyObject("x/p on pod=a types Ingress; in: any peer @ any port")],
  });
  const [pod] = cluster.pods;
  const [ip] = pod?.ips ?? [];
  assert.ok(pod && ip);
  const { maps } = compile(cluster, pod.node, new Set([ip]));
  assert.equal(maps.to4.get(ip), UNKNOWN_CHAIN);
  assert.equal(maps.from4.get(ip), UNKNOWN_CHAIN);
});

Deno.test("a faulty policy isolates its targets; what others allow stands", () => {
  const scene = new Scene();
  const bad = readPolicy({
    metadata: { name: "bad", namespace: "x" },
    spec: { podSelector: { matchLabels: { pod: "a" } }, ingress: [{ from: [{ new: 1 }] }] },
  });
  const good = readPolicy(policyObject("x/good on all types Ingress; in: P(pod=b) @ any port"));
  const base = readCluster({
    namespaces: [...scene.namespaces.values()],
    pods: [...scene.pods.values()],
    policies: [],
  });
  const alone = compile({ ...base, policies: [bad] }, "node1");
  assert.equal(alone.maps.to4.size, 1);
  const chain = alone.chains.get("in/x/bad");
  assert.deepEqual(chain?.rules, []);
  const both = compile({ ...base, policies: [bad, good] }, "node1");
  assert.equal(both.chains.get("in/x/good")?.rules.length, 2);
});

Deno.test("readPod: a pod with little in it", () => {
  const pod = readPod({ metadata: { name: "p", namespace: "x" } });
  assert.deepEqual([pod.ips, pod.ports, pod.node, pod.done], [[], [], "", false]);
  const odd = readPod({
    metadata: { name: "p", namespace: "x", labels: null },
    spec: { containers: [{ ports: null }, { ports: [{ containerPort: 80 }] }, {}] },
    status: {
      podIP: "10.0.0.1",
      podIPs: [{ ip: "10.0.0.1" }, { ip: "what" }, {}, { ip: "FD00::0:1" }],
    },
  });
  assert.deepEqual(odd.ips, ["10.0.0.1", "fd00::1"]);
  assert.deepEqual(odd.ports, []);
});

Deno.test("a pod has the address that the plugin gave it, before the API says so and against others", () => {
  const scene = new Scene();
  const { pods, namespaces } = readCluster({
    namespaces: [...scene.namespaces.values()],
    pods: [...scene.pods.values()],
    policies: [],
  });
  const [old, fresh] = pods.filter(({ namespace, node }) => namespace === "x" && node === "node1");
  assert.ok(old && fresh);
  const ip = old.ips[0] ?? parseIp("10.0.0.1");
  const news = {
    pods: new Map([[keyOf(old), old], [keyOf(fresh), { ...fresh, ips: [] }]]),
    namespaces: new Map(namespaces.map((one) => [one.name, one])),
    policies: new Map([
      ["x/p", readPolicy(policyObject(`x/p on pod=${fresh.name} types Ingress; in: []`))],
    ]),
  };
  const compiler = new PolicyCompiler("node1");
  assert.equal(compiler.update(news).maps.to4.size, 0);
  const placed = new Map([[ip, { key: keyOf(fresh), uid: fresh.uid }]]);
  assert.deepEqual([...compiler.update({ placed }).maps.to4.keys()], [ip]);
  const other = new Map([[ip, { key: keyOf(fresh), uid: "of another of that name" }]]);
  assert.equal(compiler.update({ placed: other }).maps.to4.size, 0);
  assert.equal(compiler.update({ placed: new Map() }).maps.to4.size, 0);
});

Deno.test("objects that differ in labels only do not say the same", () => {
  const pod = readPod({ metadata: { name: "p", namespace: "x", labels: { a: "1", b: "2" } } });
  const same = readPod({ metadata: { name: "p", namespace: "x", labels: { b: "2", a: "1" } } });
  const other = readPod({ metadata: { name: "p", namespace: "x", labels: { a: "1", b: "3" } } });
  assert.equal(saysSame(pod, same), true);
  assert.equal(saysSame(pod, other), false);
});
