/**
 * Rules of the firewall plugin in iptables' table filter: forwarded packets of pods are let through
 * where the node's policy would drop them, and, if the operator wants it, pods of one network do
 * not reach those of another. Chains, comments and order are those of the CNI reference plugin, so
 * that either can take away what the other made.
 *
 * @module
 */

import { addressOf, familyOf, type Inet } from "../ip.ts";
import {
  additionText,
  type IptablesRule,
  type IptablesTable,
  meaning,
  removalText,
  targetOf,
  type Wanted,
  type WantedRule,
} from "./iptables.ts";

/** The chain that holds the pods' rules. */
export const FORWARD_CHAIN = "CNI-FORWARD";

/** The two chains of isolated networks: what leaves a bridge of one, and where it may not go. */
const STAGES = ["CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"] as const;

/**
 * Which pods may send to a pod: all; all but those of other networks with such a policy; none but
 * the node, also of its own network.
 */
export const INGRESS_POLICIES = ["open", "same-bridge", "isolated"] as const;
/** One of {@link INGRESS_POLICIES}. */
export type IngressPolicy = (typeof INGRESS_POLICIES)[number];

function comment(text: string): string[] {
  return ["-m", "comment", "--comment", `CNI firewall plugin ${text}`];
}

/** The two rules of each address: answers to the pod, and what the pod sends. */
export function addressRules(addresses: readonly Inet[]): WantedRule[] {
  return addresses.flatMap((inet) => {
    const host = `${addressOf(inet)}/${familyOf(inet) === 4 ? 32 : 128}`;
    const answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"];
    return [
      { chain: FORWARD_CHAIN, words: ["-d", host, ...answers, "-j", "ACCEPT"] },
      { chain: FORWARD_CHAIN, words: ["-s", host, "-j", "ACCEPT"] },
    ];
  });
}

/**
 * Chains and rules for the addresses of one family.
 *
 * @param adminChain the operator's own chain, which is looked at first.
 */
export function forwardWanted(adminChain: string, addresses: readonly Inet[]): Wanted {
  return {
    chains: [FORWARD_CHAIN, adminChain],
    rules: [
      { chain: "FORWARD", words: [...comment("rules"), "-j", FORWARD_CHAIN], first: true },
      {
        chain: FORWARD_CHAIN,
        words: [...comment("admin overrides"), "-j", adminChain],
        first: true,
      },
      ...addressRules(addresses),
    ],
  };
}

/**
 * Chains and rules that separate the network of a bridge from others, in one family. They come
 * before {@link forwardWanted}'s, which would let the packets pass, so they are made after those.
 */
export function isolationWanted(policy: Exclude<IngressPolicy, "open">, bridge: string): Wanted {
  const [leaving, arriving] = STAGES;
  const own = comment(`rules (ingressPolicy: ${policy})`);
  const shared = comment("rules (ingressPolicy: same-bridge|isolated)");
  const within = ["-i", bridge, "-o", bridge, ...own, "-j", "DROP"];
  return {
    chains: [leaving, arriving],
    rules: [
      { chain: "FORWARD", words: [...shared, "-j", leaving], first: true },
      {
        chain: leaving,
        words: ["-i", bridge, "!", "-o", bridge, ...own, "-j", arriving],
        first: true,
      },
      ...(policy === "isolated" ? [{ chain: leaving, words: within, first: true as const }] : []),
      { chain: leaving, words: [...shared, "-j", "RETURN"] },
      { chain: arriving, words: ["-o", bridge, ...shared, "-j", "DROP"], first: true },
      { chain: arriving, words: [...shared, "-j", "RETURN"] },
    ],
  };
}

/** Several wishes as one. */
export function together(...all: readonly Wanted[]): Wanted {
  return {
    chains: all.flatMap(({ chains }) => chains),
    rules: all.flatMap(({ rules }) => rules),
  };
}

/**
 * The input that adds what is missing. Isolation stays in front: where its jump is there already and
 * {@link FORWARD_CHAIN}'s is not, it is taken out and put back above the new one.
 */
export function forwardAddition(table: IptablesTable, added: Wanted): string {
  const hooks = added.rules.some((rule) =>
    rule.chain === "FORWARD" && targetOf(rule) === FORWARD_CHAIN
  );
  const moved = table.rules("FORWARD").filter((rule) => hooks && targetOf(rule) === STAGES[0]);
  const again = moved.map((rule) => ({ ...rule, first: true as const }));
  const addition = additionText(table.name, { ...added, rules: [...added.rules, ...again] });
  if (moved.length === 0) return addition;
  // One transaction: the first text without its end, the second without its head.
  const [removal = ""] = removalText(table, moved, []).split("COMMIT\n");
  return removal + addition.slice(addition.indexOf("\n") + 1);
}

/** The input that takes out the rules of these addresses, however often they are there. */
export function addressRemoval(table: IptablesTable, rules: readonly IptablesRule[]): string {
  const going = new Set(rules.map((rule) => meaning(rule.words)));
  return removalText(
    table,
    table.rules(FORWARD_CHAIN).filter((rule) => going.has(meaning(rule.words))),
    [],
  );
}
