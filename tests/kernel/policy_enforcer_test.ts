import assert from "node:assert/strict";
import { Enforcer, removePolicies } from "../../daemon/policy/enforcer.ts";
import { Log } from "../../daemon/log.ts";
import { type Ip, parseIp } from "../../engine/ip.ts";
import { compile } from "../../engine/policy/compile.ts";
import { readMaps } from "../../engine/policy/held.ts";
import { MARK_MASK } from "../../engine/policy/render.ts";
import { type PolicyTable, policyTable } from "../../engine/policy/table.ts";
import { Netfilter } from "../../ffi/netfilter.ts";
import { listTable } from "../../ffi/nft.ts";
import { Poller } from "../../ffi/poll.ts";
import { holdAddresses } from "../../ffi/policy_hold.ts";
import { within } from "../../ffi/netns.ts";
import { policyObject, Scene } from "../engine/policy/language.ts";
import { readCluster } from "../engine/policy/nodes.ts";
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

/** A test with an enforcer in a namespace of its own. */
function enforcerTest(
  name: string,
  work: (enforcer: Enforcer, seen: { touched: number; lines: string[] }) => void,
): void {
  Deno.test(`enforcer: ${name}`, async () => {
    await using poller = new Poller();
    using netns = new Netns();
    const seen = { touched: 0, lines: [] as string[] };
    const log = new Log({ format: "text", level: "info", write: (line) => seen.lines.push(line) });
    within(netns.path, () => {
      const options = { table: TABLE, ping: false, poller, log };
      using enforcer = new Enforcer({ ...options, touched: () => seen.touched++ });
      work(enforcer, seen);
    });
  });
}

enforcerTest(
  "own changes are no drift, those of others are, and are repaired whole",
  (enforcer, seen) => {
    enforcer.apply(tableOf(CLOSED));
    enforcer.apply(tableOf(CLOSED, "x/q on pod=c types Ingress; in: P(pod=b) @ TCP/80"));
    enforcer.look();
    assert.equal(seen.touched, 0);
    const want = listTable(TABLE);
    run("nft", "flush", "ruleset");
    enforcer.look();
    assert.equal(seen.touched, 1);
    assert.equal(enforcer.have, undefined);
    enforcer.apply(tableOf(CLOSED, "x/q on pod=c types Ingress; in: P(pod=b) @ TCP/80"));
    const normal = (text: string): string[] =>
      text.replaceAll(/0x[0-9a-f]+(\/\d+)?/g, "0x…").split("\n\t}\n").map((one) => one.trim())
        .sort();
    assert.deepEqual(normal(listTable(TABLE)), normal(want));
  },
);

enforcerTest("a change that the kernel refuses ends in the whole table", (enforcer, seen) => {
  enforcer.apply(tableOf(CLOSED));
  // Behind our back and unheard: the delta does not fit any more.
  run("nft", "add", "chain", "inet", "twill-policy", "in/x/q");
  enforcer.apply(tableOf(CLOSED, "x/q on pod=c types Ingress; in: P(pod=b) @ TCP/80"));
  assert.match(listTable(TABLE), /jump in\/x\/q/);
  assert.ok(enforcer.have !== undefined || seen.touched > 0);
});

enforcerTest("generations go on from the table that stands", (enforcer) => {
  enforcer.apply(tableOf(CLOSED));
  const first = enforcer.have?.generation ?? 0;
  enforcer.apply(tableOf());
  assert.equal(enforcer.have?.generation, first, "wider: nobody is judged again");
  enforcer.apply(tableOf(CLOSED));
  assert.equal(enforcer.have?.generation, first + 1);
});

enforcerTest("dropped packets are told by chain", (enforcer) => {
  enforcer.apply(tableOf(CLOSED));
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
  (enforcer) => {
    enforcer.apply(tableOf(CLOSED));
    const ip = parseIp("10.244.1.10");
    assert.match(listTable(TABLE), /10\.244\.1\.10 : goto in-/);
    enforcer.hold([ip]);
    assert.equal(listTable(TABLE).match(/10\.244\.1\.10 : goto unknown/g)?.length, 2);
    assert.ok(enforcer.standing().has(ip));
    enforcer.apply(tableOf(CLOSED));
    assert.doesNotMatch(listTable(TABLE), /goto unknown/);
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
