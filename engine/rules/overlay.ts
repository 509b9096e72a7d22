/**
 * The rules that a node of the overlay needs: pods keep their addresses inside the overlay, are
 * masqueraded when they leave it, and may be forwarded.
 *
 * The meaning is flannel's, so that mixed clusters behave alike. Where they stand depends on the
 * network's `EnableNFTables`:
 *
 * - absent: our own table, `inet twill`;
 * - true: flannel's tables, `ip flannel-ipv4` and `ip6 flannel-ipv6`;
 * - false: flannel's chains of iptables, `FLANNEL-POSTRTG` and `FLANNEL-FWD`.
 *
 * The facts of a mode also say that the rules of the others are not there.
 *
 * @module
 */

import type { ChainFact, Fact, RulesFact } from "../fact.ts";
import { type Cidr, type Family, familyOf } from "../ip.ts";
import { chainLine } from "./chains.ts";
import type { Chain, Match, Rule, RuleSet } from "./model.ts";
import { nftText } from "./nft.ts";

/** Where the rules stand. */
export type RuleMode = "twill" | "flannel-nft" | "iptables";

/** The mode that the network asks for with `EnableNFTables`. */
export function ruleMode(nftables: boolean | undefined): RuleMode {
  if (nftables === undefined) return "twill";
  return nftables ? "flannel-nft" : "iptables";
}

/** Our table: `inet twill`, and `inet twill-NAME` for a daemon that is one of several. */
export function overlayTable(instance: string): string {
  return instance === "" ? "inet twill" : `inet twill-${instance}`;
}

/** The overlay as the rules see it, one entry for each family in use. */
export interface OverlayNet {
  /** All pods of the cluster. */
  readonly network: Cidr;
  /** The pods of this node. */
  readonly subnet: Cidr;
}

/** What the operator chose. */
export interface RuleChoices {
  /** Masquerade pods that leave the overlay (`--ip-masq`). */
  readonly masquerade: boolean;
  /** Accept forwarded pod traffic (`--iptables-forward-rules`). */
  readonly forward: boolean;
  /** Choose source ports at random (not with `--ip-masq-fully-random-disable`). */
  readonly fullyRandom: boolean;
}

/** The choices, and the table of ours that holds the rules: see {@link overlayTable}. */
export interface OverlayRuleOptions extends RuleChoices {
  readonly table: string;
}

/** The choices, and where the rules stand. */
export interface RulePlace extends RuleChoices {
  readonly mode: RuleMode;
  /** `--instance`: one of several daemons leaves the rules of the others alone. */
  readonly instance: string;
  /** In flannel's tables, flannel's own fourth rule (`--compat`): see {@link masqueradeRules}. */
  readonly compat: boolean;
}

/** kube-proxy's "masquerade this" mark: it does so itself. */
const KUBE_MASQUERADE_MARK = 0x4000;

/** What differs between the families. */
const ROWS = {
  4: { multicast: "224.0.0.0/4" as Cidr, table: "ip flannel-ipv4" },
  6: { multicast: "ff00::/8" as Cidr, table: "ip6 flannel-ipv6" },
} as const satisfies Record<Family, unknown>;

/** The rules of the chosen mode, and the absence of those of the others. */
export function overlayRuleFacts(
  nets: readonly OverlayNet[],
  options: RulePlace,
): Fact[] {
  const { mode, instance } = options;
  const own = overlayTable(instance);
  // Another instance may be in another mode: its rules are not ours to take away.
  const others = instance === ""
    ? [own, ROWS[4].table, ROWS[6].table].map((table) => rulesFact(table, ""))
    : [];
  const wanted = factsOf(mode, own, nets, options);
  const tables = new Set(wanted.flatMap((fact) => fact.kind === "rules" ? [fact.table] : []));
  return [...wanted, ...others.filter(({ table }) => !tables.has(table))];
}

function factsOf(
  mode: RuleMode,
  own: string,
  nets: readonly OverlayNet[],
  options: RulePlace,
): Fact[] {
  switch (mode) {
    case "twill":
      return [overlayRulesFact(nets, { ...options, table: own })];
    case "flannel-nft":
      return ([4, 6] as const).map((family) => {
        const rules = flannelRules(
          family,
          nets.filter((n) => familyOf(n.network) === family),
          options,
        );
        return rulesFact(rules.table, nftText(rules));
      });
    case "iptables":
      return nets.flatMap((net) => flannelChains(net, options));
  }
}

function rulesFact(table: string, text: string): RulesFact {
  return { kind: "rules", where: "host", table, text };
}

/** Our own table as a fact: both families in one table, empty text when it holds nothing. */
export function overlayRulesFact(
  nets: readonly OverlayNet[],
  options: OverlayRuleOptions,
): RulesFact {
  const rules = overlayRules(nets, options);
  return rulesFact(rules.table, rules.chains.length === 0 ? "" : nftText(rules));
}

/** Our own table as a model. */
export function overlayRules(
  nets: readonly OverlayNet[],
  { table, masquerade, forward, fullyRandom }: OverlayRuleOptions,
): RuleSet {
  const marked: Rule = {
    match: [{ kind: "mark", bits: KUBE_MASQUERADE_MARK }],
    verdict: { kind: "return" },
    comment: "marked by kube-proxy, which masquerades it",
  };
  const chains: Chain[] = [];
  if (forward) {
    const rules = nets.flatMap(forwardRules);
    chains.push({ name: "forward", hook: "forward", type: "filter", rules });
  }
  if (masquerade) {
    const rules = [marked, ...nets.flatMap((net) => masqueradeRules(net, fullyRandom))];
    chains.push({ name: "postrouting", hook: "postrouting", type: "nat", rules });
  }
  return { table, chains };
}

/** flannel's table of one family; both exist in this mode, whichever families are in use. */
function flannelRules(
  family: Family,
  nets: readonly OverlayNet[],
  { masquerade, forward, fullyRandom, compat }: RulePlace,
): RuleSet {
  const { table } = ROWS[family];
  const marked: Rule = {
    match: [{ kind: "mark", bits: KUBE_MASQUERADE_MARK, exactly: true }],
    verdict: { kind: "return" },
  };
  const bare = ({ match, verdict }: Rule): Rule => ({ match, verdict });
  const chains = nets.flatMap((net): Chain[] => [
    ...(forward
      ? [
        {
          name: "forward",
          comment: "chain to accept flannel traffic",
          hook: "forward",
          type: "filter",
          rules: forwardRules(net).map(bare),
        } as const,
      ]
      : []),
    ...(masquerade
      ? [
        {
          name: "postrtg",
          comment: "chain to manage traffic masquerading by flannel",
          hook: "postrouting",
          type: "nat",
          rules: [marked, ...masqueradeRules(net, fullyRandom, compat).map(bare)],
        } as const,
      ]
      : []),
  ]);
  return { table, comment: `rules for flannel-ipv${family}`, chains };
}

/** The chains of flannel's iptables mode, to be wanted or (with no rules) to be gone. */
const CHAINS = {
  masquerade: {
    table: "nat",
    chain: "FLANNEL-POSTRTG",
    hook: "POSTROUTING",
    comment: "flanneld masq",
  },
  forward: { table: "filter", chain: "FLANNEL-FWD", hook: "FORWARD", comment: "flanneld forward" },
} as const;

function flannelChains(net: OverlayNet, options: RuleChoices): ChainFact[] {
  const marked: Rule = {
    match: [{ kind: "mark", bits: KUBE_MASQUERADE_MARK }],
    verdict: { kind: "return" },
  };
  const family = familyOf(net.network);
  return [
    chainFact(
      family,
      CHAINS.masquerade,
      options.masquerade ? [marked, ...masqueradeRules(net, options.fullyRandom)] : [],
    ),
    chainFact(family, CHAINS.forward, options.forward ? forwardRules(net) : []),
  ];
}

/** The absence of flannel's chains, for the other modes' clean-up. */
export function noFlannelChains(families: readonly Family[]): ChainFact[] {
  return families.flatMap((family) => Object.values(CHAINS).map((c) => chainFact(family, c, [])));
}

function chainFact(
  family: Family,
  { table, chain, hook, comment }: (typeof CHAINS)[keyof typeof CHAINS],
  rules: readonly Rule[],
): ChainFact {
  const lines = rules.map((rule) => chainLine(chain, rule, comment));
  const jump = `-A ${hook} -m comment --comment "${comment}" -j ${chain}`;
  const text = rules.length === 0 ? "" : [jump, ...lines].join("\n");
  return { kind: "chain", where: "host", family, table, chain, comment, text };
}

function forwardRules({ network }: OverlayNet): Rule[] {
  return [
    { match: [from(network)], verdict: { kind: "accept" }, comment: "from a pod" },
    { match: [to(network)], verdict: { kind: "accept" }, comment: "to a pod" },
  ];
}

/**
 * The order matters: what stays inside the overlay returns before anything is masqueraded.
 *
 * @param compat the third of these rules in the form of flannel's nftables mode, which lets host
 * traffic to other nodes' pods through unmasqueraded, so that the last rule never acts.
 */
function masqueradeRules(
  { network, subnet }: OverlayNet,
  fullyRandom: boolean,
  compat = false,
): Rule[] {
  const keep = { kind: "return" } as const;
  const masquerade = { kind: "masquerade", fullyRandom } as const;
  return [
    {
      match: [from(subnet), to(network)],
      verdict: keep,
      comment: "our pods to the overlay keep their address",
    },
    {
      match: [from(network), to(subnet)],
      verdict: keep,
      comment: "the overlay to our pods keeps its address",
    },
    {
      match: compat ? [notFrom(subnet), to(network)] : [notFrom(network), to(subnet)],
      verdict: keep,
      comment: "outside clients of our pods keep their address",
    },
    {
      match: [from(network), notTo(ROWS[familyOf(network)].multicast)],
      verdict: masquerade,
      comment: "pods leave the overlay with the node's address",
    },
    {
      match: [notFrom(network), to(network)],
      verdict: masquerade,
      comment: "this node to pods of others, so that answers come back here",
    },
  ];
}

function from(net: Cidr): Match {
  return { kind: "source", net };
}

function notFrom(net: Cidr): Match {
  return { kind: "source", net, not: true };
}

function to(net: Cidr): Match {
  return { kind: "destination", net };
}

function notTo(net: Cidr): Match {
  return { kind: "destination", net, not: true };
}
