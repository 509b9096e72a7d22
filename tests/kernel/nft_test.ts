import assert from "node:assert/strict";
import { OpError } from "../../engine/errors.ts";
import type { RulesFact } from "../../engine/fact.ts";
import { parseCidr } from "../../engine/ip.ts";
import { plan } from "../../engine/plan.ts";
import {
  type OverlayRuleOptions,
  overlayRulesFact,
  overlayTable,
} from "../../engine/rules/overlay.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { listTable, nft, nftProgram, nftRunner, replaceTable } from "../../ffi/nft.ts";
import { kernelTest, Netns, run } from "./sandbox.ts";

const NETS = [
  { network: parseCidr("10.244.0.0/16"), subnet: parseCidr("10.244.1.0/24") },
  { network: parseCidr("fd00:10::/48"), subnet: parseCidr("fd00:10:0:1::/64") },
];

const table = overlayTable("");

const OPTIONS: readonly OverlayRuleOptions[] = [true, false].flatMap((masquerade) =>
  [true, false].flatMap((forward) =>
    [true, false].map((fullyRandom) => ({ table, masquerade, forward, fullyRandom }))
  )
);

/** Each test runs with the library, and again with the program in its place. */
const RUNNERS = { "libnftables": nftRunner(), "the program nft": nftProgram } as const;

assert.notEqual(nftRunner(), nftProgram, "this machine has the library");

for (const [name, runner] of Object.entries(RUNNERS)) {
  kernelTest(`${name}: overlay rules read back as they were written`, () => {
    for (const nets of [NETS, NETS.slice(0, 1), NETS.slice(1)]) {
      for (const options of OPTIONS) {
        const { text } = overlayRulesFact(nets, options);
        replaceTable(table, text, runner);
        assert.equal(listTable(table, runner), text);
        const shown = text === "" ? "" : run("nft", "-s", "list", "table", ...table.split(" "));
        assert.equal(shown, text);
      }
    }
  });

  kernelTest(`${name}: a bad batch changes nothing`, () => {
    const { text } = overlayRulesFact(NETS, OPTIONS[0] as OverlayRuleOptions);
    replaceTable(table, text, runner);
    const bad = text.replace("fully-random", "fully-wrong");
    assert.throws(
      () => replaceTable(table, bad, runner),
      (e) =>
        e instanceof OpError && /^Cannot apply nft rules: /.test(e.message) &&
        /fully-wrong|syntax error/.test(e.message),
    );
    assert.equal(listTable(table, runner), text);
    // Refused by the kernel rather than by nft: a chain of ours and then one that cannot be.
    const late = text.replace("hook postrouting", "hook prerouting").replace("srcnat", "dstnat");
    assert.throws(() => replaceTable(table, late, runner), OpError);
    assert.equal(listTable(table, runner), text);
  });

  kernelTest(`${name}: other tables stay, a missing table is empty text`, () => {
    run("nft", "add", "table", "ip", "twill");
    run("nft", "add", "table", "inet", "other");
    assert.equal(listTable("inet twill", runner), "");
    replaceTable("inet twill", "table inet twill {\n}\n", runner);
    replaceTable("inet twill", "", runner);
    assert.equal(listTable("inet twill", runner), "");
    assert.equal(nft("list tables\n", runner), "table ip twill\ntable inet other\n");
  });

  kernelTest(`${name}: works in the namespace it is called in`, () => {
    using pod = new Netns();
    pod.inside(() => replaceTable("inet twill", "table inet twill {\n}\n", runner));
    assert.equal(listTable("inet twill", runner), "");
    assert.notEqual(pod.inside(() => listTable("inet twill", runner)), "");
  });
}

kernelTest("the program nft: takes more rules than a command line holds", () => {
  const comment = "x".repeat(100);
  const rules = Array.from({ length: 1500 }, () => `\t\taccept comment "${comment}"\n`).join("");
  const text = `table inet twill {\n\tchain c {\n${rules}\t}\n}\n`;
  replaceTable("inet twill", text, nftProgram);
  assert.equal(listTable("inet twill", nftProgram), text);
});

kernelTest("Kernel: rules that were flushed are planned again, present ones are not", () => {
  const want = overlayRulesFact(NETS, OPTIONS[0] as OverlayRuleOptions);
  const scope = { rules: [want.table] };
  using kernel = Kernel.open();
  const changes = (): number => plan([want], kernel.read(scope), () => true).changes.length;
  assert.equal(changes(), 1);
  assert.deepEqual(kernel.apply([{ op: "put", fact: want }]).map(({ error }) => error), [
    undefined,
  ]);
  assert.equal(changes(), 0);
  run("nft", "flush", "ruleset");
  assert.equal(changes(), 1);
  kernel.apply([{ op: "put", fact: want }]);
  run("nft", "insert", "rule", "inet", "twill", "postrouting", "accept");
  assert.equal(changes(), 1);
  kernel.apply([{ op: "put", fact: want }]);
  assert.equal(changes(), 0);
  kernel.apply([{ op: "delete", fact: want }]);
  assert.equal(run("nft", "list", "tables"), "");
});

kernelTest(
  "Kernel: rules that nft words otherwise count as written, until someone changes them",
  () => {
    const text =
      "table inet twill {\n\tchain c {\n\t\tip saddr 10.0.0.1/32 tcp dport http accept\n\t}\n}\n";
    const want: RulesFact = { kind: "rules", where: "host", table: "inet twill", text };
    using kernel = Kernel.open();
    assert.deepEqual(kernel.apply([{ op: "put", fact: want }]).map(({ error }) => error), [
      undefined,
    ]);
    assert.notEqual(listTable("inet twill"), text);
    assert.deepEqual(kernel.read({ rules: ["inet twill"] }), [want]);
    run("nft", "add", "rule", "inet", "twill", "c", "drop");
    assert.notDeepEqual(kernel.read({ rules: ["inet twill"] }), [want]);
  },
);

kernelTest("Kernel: a refused table is an outcome, and what else was asked is done", () => {
  const rules: RulesFact = { kind: "rules", where: "host", table: "inet twill", text: "nonsense" };
  using kernel = Kernel.open();
  const outcomes = kernel.apply([
    { op: "put", fact: { kind: "up", where: "host", dev: "lo", up: true } },
    { op: "put", fact: rules },
    { op: "put", fact: { kind: "sysctl", where: "host", key: "net/ipv4/ip_forward", value: "1" } },
  ]);
  assert.deepEqual(outcomes.map(({ error }) => error?.deed), [undefined, "apply", undefined]);
  assert.match(run("ip", "link", "show", "lo"), /,UP/);
  assert.equal(run("sysctl", "-n", "net.ipv4.ip_forward"), "1\n");
});

kernelTest("the program nft: where it is missing, the error says what to install", () => {
  const path = Deno.env.get("PATH") ?? "";
  Deno.env.set("PATH", "/nonexistent");
  try {
    assert.throws(
      () => nft("list tables\n", nftProgram),
      (e) =>
        e instanceof OpError && e.message.startsWith("Cannot run nft: ") &&
        e.advice?.includes("libnftables1") === true,
    );
  } finally {
    Deno.env.set("PATH", path);
  }
});
