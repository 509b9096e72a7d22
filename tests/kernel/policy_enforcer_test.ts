import assert from "node:assert/strict";
import fc from "fast-check";
import { Enforcer, removePolicies } from "../../daemon/policy/enforcer.ts";
import { Log } from "../../daemon/log.ts";
import { type Ip, parseIp } from "../../engine/ip.ts";
import { compile } from "../../engine/policy/compile.ts";
import { readMaps } from "../../engine/policy/held.ts";
import { MARK_MASK } from "../../engine/policy/frame.ts";
import { wholeText } from "../../engine/policy/render.ts";
import {
  type Enforced,
  noPolicies,
  type PolicyTable,
  policyTable,
} from "../../engine/policy/table.ts";
import { Netfilter } from "../../ffi/netfilter.ts";
import { listTable, nft, nftOffThread } from "../../ffi/nft.ts";
import { NftTable } from "../../ffi/nft_table.ts";
import { Poller } from "../../ffi/poll.ts";
import { holdAddresses } from "../../ffi/policy_hold.ts";
import { within } from "../../ffi/netns.ts";
import { policyObject, Scene } from "../engine/policy/language.ts";
import { history, NODE_NAMES } from "../engine/policy/clusters.ts";
import { Nodes, readCluster } from "../engine/policy/nodes.ts";
import { kernelTest, Netns, run, sh } from "./sandbox.ts";

const TABLE = policyTable("");

function tableOf(...policies: readonly string[]): PolicyTable {
  const scene = new Scene();
  return compile(
    readCluster({
      namespaces: [...scene.namespaces.values()],
      pods: [...scene.pods.values()],
      policies: policies.map(policyObject),
    }),
    "node1",
  );
}

const CLOSED = "x/p on pod=a types Ingress; in: []";

// Libraries stay open for good; those of the first test would count as a leak.
nftOffThread();

/** A test with an enforcer in a namespace of its own. */
function enforcerTest(
  name: string,
  work: (
    enforcer: Enforcer,
    seen: { touched: number; lines: string[] },
    here: <T>(work: () => T) => T,
  ) => Promise<void>,
): void {
  Deno.test(`enforcer: ${name}`, async () => {
    await using poller = new Poller();
    using netns = new Netns();
    const seen = { touched: 0, lines: [] as string[] };
    const log = new Log({ format: "text", level: "info", write: (line) => seen.lines.push(line) });
    const here = <T>(work: () => T): T => within(netns.path, work);
    const options = { table: TABLE, ping: false, poller, log, touched: () => seen.touched++ };
    using enforcer = here(() => new Enforcer(options));
    await work(enforcer, seen, here);
  });
}

enforcerTest(
  "own changes are no drift, those of others are, and are repaired whole",
  async (enforcer, seen, here) => {
    await enforcer.apply(tableOf(CLOSED));
    await enforcer.apply(tableOf(CLOSED, "x/q on pod=c types Ingress; in: P(pod=b) @ TCP/80"));
    enforcer.look();
    assert.equal(seen.touched, 0);
    const want = here(() => listTable(TABLE));
    here(() => run("nft", "flush", "ruleset"));
    enforcer.look();
    assert.equal(seen.touched, 1);
    assert.equal(enforcer.have, undefined);
    await enforcer.apply(tableOf(CLOSED, "x/q on pod=c types Ingress; in: P(pod=b) @ TCP/80"));
    const normal = (text: string): string[] =>
      text.replaceAll(/0x[0-9a-f]+(\/\d+)?/g, "0x…").split("\n\t}\n").map((one) => one.trim())
        .sort();
    assert.deepEqual(normal(here(() => listTable(TABLE))), normal(want));
  },
);

enforcerTest(
  "a change that the kernel refuses ends in the whole table",
  async (enforcer, seen, here) => {
    await enforcer.apply(tableOf(CLOSED));
    // Behind our back and unheard: the delta does not fit any more.
    here(() => run("nft", "add", "chain", "inet", "twill-policy", "in/x/q"));
    await enforcer.apply(tableOf(CLOSED, "x/q on pod=c types Ingress; in: P(pod=b) @ TCP/80"));
    assert.match(here(() => listTable(TABLE)), /jump in\/x\/q/);
    assert.ok(enforcer.have !== undefined || seen.touched > 0);
  },
);

enforcerTest("generations go on from the table that stands", async (enforcer, _, here) => {
  await enforcer.apply(tableOf(CLOSED));
  const first = enforcer.have?.generation ?? 0;
  await enforcer.apply(tableOf());
  assert.equal(enforcer.have?.generation, first, "wider: nobody is judged again");
  await enforcer.apply(tableOf(CLOSED));
  assert.equal(enforcer.have?.generation, first + 1);
  // As another run of the daemon has left it.
  const rule = `remember ct mark set ct mark & 0x000000ff | 0x00123400`;
  here(() => nft(`flush chain ${TABLE} remember\nadd rule ${TABLE} ${rule}\n`));
  here(() => enforcer.hold([]));
  await enforcer.apply(tableOf(CLOSED));
  assert.equal(enforcer.have?.generation, 0x1235);
});

enforcerTest("dropped packets are told by chain", async (enforcer) => {
  await enforcer.apply(tableOf(CLOSED));
  const drops = enforcer.drops();
  assert.deepEqual([...drops.values()], [0, 0]);
  assert.ok([...drops.keys()].some((chain) => chain.startsWith("in-")));
});

kernelTest(
  "hold: where no table stands one is made; in one that stands the address is closed",
  () => {
    const [a, b] = [parseIp("10.244.1.10"), parseIp("fd00:10:244:1::77")];
    holdAddresses(TABLE, [a, b]);
    assert.deepEqual(readMaps(listTable(TABLE)).addresses, new Set<Ip>([a, b]));
    run("nft", "delete", "table", "inet", "twill-policy");
  },
);

enforcerTest(
  "hold: an address that has policies loses them until the table is written anew",
  async (enforcer, _, here) => {
    await enforcer.apply(tableOf(CLOSED));
    const ip = parseIp("10.244.1.10");
    assert.match(here(() => listTable(TABLE)), /10\.244\.1\.10 : goto in-/);
    here(() => enforcer.hold([ip]));
    assert.equal(here(() => listTable(TABLE)).match(/10\.244\.1\.10 : goto unknown/g)?.length, 2);
    assert.ok(enforcer.standing().has(ip));
    await enforcer.apply(tableOf(CLOSED));
    assert.doesNotMatch(here(() => listTable(TABLE)), /goto unknown/);
  },
);

kernelTest("removePolicies: the table goes, and the marks on connections", () => {
  sh("ip link set lo up");
  run(
    "nft",
    "table inet t { chain c { type filter hook output priority 0; ct mark set 0x12345677; }; }",
  );
  run("bash", "-c", "echo x >/dev/udp/127.0.0.1/5300 || true");
  assert.equal(removePolicies(TABLE), false);
  holdAddresses(TABLE, [parseIp("10.0.0.1")]);
  run("nft", "delete", "table", "inet", "t");
  assert.equal(removePolicies(TABLE), true);
  assert.equal(listTable(TABLE), "");
  using netfilter = new Netfilter();
  assert.equal(netfilter.clearMarks(MARK_MASK >>> 0), 0, "none is left");
  assert.equal(netfilter.clearMarks(0xff), 1, "other bits stayed");
});

/** The table as it stands, in an order that does not depend on its history. */
function blocks(text: string): string[] {
  return text.replaceAll(/0x[0-9a-f]{8}/g, "0x…").split("\n\t}\n").map((block) => block.trim())
    .sort();
}

const RUNS = Deno.env.get("TWILL_FULL") === undefined ? 10 : 200;

enforcerTest("whatever the way, the kernel holds what the whole table says", async (
  enforcer,
  { lines },
  here,
) => {
  await fc.assert(
    fc.asyncProperty(history, async (all) => {
      const nodes = new Nodes(NODE_NAMES);
      let table = noPolicies();
      await enforcer.apply(table);
      for (const api of all) {
        nodes.update(api);
        table = nodes.tables.get("n1") ?? table;
        await enforcer.apply(table);
      }
      const changed = blocks(here(() => listTable(TABLE)));
      // As the next run of the daemon does.
      here(() => enforcer.hold([]));
      await enforcer.apply(table);
      const stands = blocks(here(() => listTable(TABLE)));
      assert.deepEqual(changed, stands);
      const { have } = enforcer;
      here(() => nft(wholeText(have as Enforced)));
      assert.deepEqual(stands, blocks(here(() => listTable(TABLE))));
      assert.deepEqual(lines.filter((line) => line.includes("refused")), []);
      here(() => enforcer.hold([]));
    }),
    { numRuns: RUNS },
  );
});

/** Many pods elsewhere, which a policy on a pod of this node lets in; by IPv4 and IPv6. */
function crowd(count: number, ...policies: readonly string[]): PolicyTable {
  const scene = new Scene();
  const many = Array.from({ length: count }, (_, i) => ({
    metadata: { name: `peer${i}`, namespace: "y", labels: { pod: "many" } },
    spec: { nodeName: "node2" },
    status: {
      phase: "Running",
      podIPs: [{ ip: `10.99.${i >> 8}.${i & 255}` }, { ip: `fd00:99::${(i + 1).toString(16)}` }],
    },
  }));
  const all = [CROWDED, NAMED, ...policies].map(policyObject);
  return compile(
    readCluster({
      namespaces: [...scene.namespaces.values()],
      pods: [...scene.pods.values(), ...many],
      policies: all,
    }),
    "node1",
  );
}

const NAMED = "x/n on pod=a types Egress; out: any peer @ TCP/serve-81-tcp";
const CROWDED = "x/p on pod=a types Ingress; in: N(ns=y)+P(pod=many) @ TCP/80";

enforcerTest(
  "a table of another run is taken over: what differs is changed, what is foreign goes",
  async (enforcer, { lines }, here) => {
    await enforcer.apply(crowd(700));
    const want = blocks(here(() => listTable(TABLE)));
    const name = /set (peers4-\S+) \{/.exec(here(() => listTable(TABLE)))?.[1] ?? "";
    const other = name.replace("4-", "6-");
    for (
      const change of [
        `delete element ${TABLE} ${name} { 10.99.0.1, 10.99.0.2 }`,
        `add element ${TABLE} ${name} { 192.0.2.1 }`,
        `add chain ${TABLE} strange { type filter hook output priority 0; }`,
        `add set ${TABLE} strange { type mark; }`,
        `add rule ${TABLE} strange tcp dport { 1, 2 } drop`,
        `add element ${TABLE} to4 { 192.0.2.9 : drop }`,
        `add counter ${TABLE} strange`,
        `delete rule ${TABLE} in/x/p handle ${
          / # handle (\d+)/.exec(
            here(() => nft(`list chain ${TABLE} in/x/p\n`, undefined, "handles")).split("ip6 saddr")
              .at(1) ?? "",
          )?.[1]
        }`,
        `delete set ${TABLE} ${other}`,
        `add set ${TABLE} ${other} { type ipv6_addr; flags interval; }`,
      ]
    ) here(() => nft(`${change}\n`));
    here(() => enforcer.hold([]));
    const before = lines.length;
    await enforcer.apply(crowd(700));
    assert.deepEqual(lines.slice(before), [], "nothing was refused");
    assert.deepEqual(blocks(here(() => listTable(TABLE))), want);
    const { have } = enforcer;
    here(() => nft(wholeText(have as Enforced)));
    assert.deepEqual(blocks(here(() => listTable(TABLE))), want, "as nft writes it");
  },
);

enforcerTest("a large set comes and goes with its policy", async (enforcer, { lines }, here) => {
  await enforcer.apply(tableOf());
  const empty = blocks(here(() => listTable(TABLE)));
  await enforcer.apply(crowd(1_500));
  assert.equal(here(() => listTable(TABLE)).match(/10\.99\.\d+\.\d+/g)?.length, 1_500);
  await enforcer.apply(tableOf());
  assert.deepEqual(blocks(here(() => listTable(TABLE))), empty);
  assert.deepEqual(lines, []);
});

enforcerTest(
  "an address that stands and nobody knows keeps the table from being written",
  async (enforcer, _, here) => {
    const ip = parseIp("192.0.2.7");
    here(() => holdAddresses(TABLE, [ip]));
    assert.deepEqual(await enforcer.apply(tableOf(CLOSED), () => false), [ip]);
    assert.doesNotMatch(here(() => listTable(TABLE)), /in\/x\/p/);
    assert.deepEqual(await enforcer.apply(tableOf(CLOSED), () => true), []);
    assert.match(here(() => listTable(TABLE)), /in\/x\/p/);
  },
);

enforcerTest("a transaction of elements takes effect whole, or not at all", async (
  enforcer,
  _,
  here,
) => {
  await enforcer.apply(tableOf(CLOSED));
  const before = here(() => listTable(TABLE));
  using table = here(() => new NftTable(enforcer.name));
  const element = { key: Uint8Array.of(10, 9, 9, 9) };
  assert.throws(
    () =>
      table.change([
        { set: "senders4", lost: [], fresh: [element] },
        { set: "nobody", lost: [], fresh: [element] },
        { set: "senders4", lost: [], fresh: [{ key: Uint8Array.of(10, 9, 9, 8) }] },
      ]),
    { errno: 2, message: /Cannot change elements of table twill-policy: No such file/ },
  );
  assert.equal(here(() => listTable(TABLE)), before);
  assert.deepEqual([...table.keys("nobody")], []);
});
