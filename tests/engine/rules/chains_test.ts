import assert from "node:assert/strict";
import type { ChainFact } from "../../../engine/fact.ts";
import { parseCidr } from "../../../engine/ip.ts";
import { chainInput, chainText } from "../../../engine/rules/chains.ts";
import { noFlannelChains, overlayRuleFacts, ruleMode } from "../../../engine/rules/overlay.ts";

const NET = { network: parseCidr("10.244.0.0/16"), subnet: parseCidr("10.244.1.0/24") };
const CHOICES = {
  instance: "",
  masquerade: true,
  forward: true,
  fullyRandom: true,
  compat: false,
};

function chains(mode: "iptables" = "iptables"): ChainFact[] {
  return overlayRuleFacts([NET], { ...CHOICES, mode })
    .filter((fact): fact is ChainFact => fact.kind === "chain");
}

Deno.test("overlayRuleFacts: iptables mode to the letter of flannel", () => {
  const [masquerade, forward] = chains();
  assert.equal(
    masquerade?.text,
    [
      '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
      '-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
      '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
    ].join("\n"),
  );
  assert.equal(
    forward?.text,
    [
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
    ].join("\n"),
  );
});

Deno.test("overlayRuleFacts: each mode wants the tables of the others gone", () => {
  const tables = (mode: "twill" | "flannel-nft" | "iptables", instance = ""): string[] =>
    overlayRuleFacts([NET], { ...CHOICES, mode, instance }).flatMap((fact) =>
      fact.kind === "rules" ? [`${fact.table}${fact.text === "" ? " gone" : ""}`] : []
    ).sort();
  const flannel = ["ip flannel-ipv4", "ip6 flannel-ipv6"];
  assert.deepEqual(tables("twill"), ["inet twill", ...flannel.map((t) => `${t} gone`)]);
  assert.deepEqual(tables("flannel-nft"), ["inet twill gone", ...flannel]);
  assert.deepEqual(tables("iptables"), ["inet twill gone", ...flannel.map((t) => `${t} gone`)]);
  assert.deepEqual(tables("twill", "b"), ["inet twill-b"]);
});

Deno.test("overlayRuleFacts: --compat takes flannel's fourth rule", () => {
  const rules = (compat: boolean): string =>
    overlayRuleFacts([NET], { ...CHOICES, mode: "flannel-nft", compat }).map((fact) =>
      fact.kind === "rules" ? fact.text : ""
    ).join("");
  assert.match(rules(false), /ip saddr != 10\.244\.0\.0\/16 ip daddr 10\.244\.1\.0\/24 return/);
  assert.match(rules(true), /ip saddr != 10\.244\.1\.0\/24 ip daddr 10\.244\.0\.0\/16 return/);
});

Deno.test("ruleMode: EnableNFTables absent, true, false", () => {
  assert.deepEqual([undefined, true, false].map(ruleMode), ["twill", "flannel-nft", "iptables"]);
});

/** A table as saved: foreign rules around what `lines` say. */
const saved = (...lines: string[]): string =>
  ["*nat", ":POSTROUTING ACCEPT [0:0]", ":FLANNEL-POSTRTG - [0:0]", ":KUBE - [0:0]"].concat(
    "-A POSTROUTING -j KUBE",
    lines,
    '-A KUBE -s 10.0.0.1/32 -m comment --comment "flanneld" -j ACCEPT',
    "COMMIT",
    "",
  ).join("\n");

Deno.test("chainText: our chain, jumps to it, and rules with our comment; nothing else", () => {
  const { text, ...chain } = chains()[0] as ChainFact;
  assert.equal(chainText(saved(...text.split("\n")), chain), text);
  const old = '-A POSTROUTING -s 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE';
  assert.equal(chainText(saved(old), chain), `${old}\n-N FLANNEL-POSTRTG`);
});

Deno.test("chainInput: keeps a jump that is right, replaces the rest in one transaction", () => {
  const want = chains()[0] as ChainFact;
  const [jump = "", ...rules] = want.text.split("\n");
  assert.equal(
    chainInput(want, [jump, rules[0]].join("\n")),
    ["*nat", ":FLANNEL-POSTRTG - [0:0]", ...rules, "COMMIT", ""].join("\n"),
  );
  assert.equal(
    chainInput(want, `${jump}\n${jump}`),
    [
      "*nat",
      ":FLANNEL-POSTRTG - [0:0]",
      ...[jump, jump].map((line) => line.replace("-A", "-D")),
      jump,
      ...rules,
      "COMMIT",
      "",
    ].join("\n"),
  );
});

Deno.test("chainInput: takes a chain away with every rule that leads to it", () => {
  const [gone] = noFlannelChains([4]);
  const have = (chains()[0] as ChainFact).text;
  assert.equal(
    chainInput(gone as ChainFact, have),
    [
      "*nat",
      '-D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
      "-F FLANNEL-POSTRTG",
      "-X FLANNEL-POSTRTG",
      "COMMIT",
      "",
    ].join("\n"),
  );
});
