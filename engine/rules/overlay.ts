/**
 * The rules that a node of the overlay needs: pods keep their addresses inside the overlay, are
 * masqueraded when they leave it, and may be forwarded.
 *
 * The meaning is flannel's, so that mixed clusters behave alike; the table is our own
 * (`inet twill`), replaced in one transaction.
 *
 * @module
 */

import type { RulesFact } from "../fact.ts";
import { type Cidr, familyOf } from "../ip.ts";
import type { Match, Rule, RuleSet } from "./model.ts";
import { nftText } from "./nft.ts";

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
export interface OverlayRuleOptions {
  /** See {@link overlayTable}. */
  readonly table: string;
  /** Masquerade pods that leave the overlay (`--ip-masq`). */
  readonly masquerade: boolean;
  /** Accept forwarded pod traffic (`--iptables-forward-rules`). */
  readonly forward: boolean;
  /** Choose source ports at random (not with `--ip-masq-fully-random-disable`). */
  readonly fullyRandom: boolean;
}

/** kube-proxy's "masquerade this" mark: it does so itself. */
const KUBE_MASQUERADE_MARK = 0x4000;

/** Packets to these are never masqueraded, by family. */
const MULTICAST = { 4: "224.0.0.0/4" as Cidr, 6: "ff00::/8" as Cidr } as const;

/** The rules of this node. */
export function overlayRules(
  nets: readonly OverlayNet[],
  options: OverlayRuleOptions,
): RuleSet {
  const chains = [
    ...(options.forward
      ? [
        {
          name: "forward",
          hook: "forward",
          type: "filter",
          rules: nets.flatMap(forwardRules),
        } as const,
      ]
      : []),
    ...(options.masquerade
      ? [
        {
          name: "postrouting",
          hook: "postrouting",
          type: "nat",
          rules: [
            {
              match: [{ kind: "mark", bits: KUBE_MASQUERADE_MARK }],
              verdict: { kind: "return" },
              comment: "marked by kube-proxy, which masquerades it",
            } as const,
            ...nets.flatMap((net) => masqueradeRules(net, options.fullyRandom)),
          ],
        } as const,
      ]
      : []),
  ];
  return { table: options.table, chains };
}

/** {@link overlayRules} as the fact that the kernel is to hold; empty text when there are none. */
export function overlayRulesFact(
  nets: readonly OverlayNet[],
  options: OverlayRuleOptions,
): RulesFact {
  const rules = overlayRules(nets, options);
  const text = rules.chains.length === 0 ? "" : nftText(rules);
  return { kind: "rules", where: "host", table: options.table, text };
}

function forwardRules({ network }: OverlayNet): Rule[] {
  return [
    { match: [from(network)], verdict: { kind: "accept" }, comment: "from a pod" },
    { match: [to(network)], verdict: { kind: "accept" }, comment: "to a pod" },
  ];
}

/** The order matters: what stays inside the overlay returns before anything is masqueraded. */
function masqueradeRules({ network, subnet }: OverlayNet, fullyRandom: boolean): Rule[] {
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
      match: [notFrom(network), to(subnet)],
      verdict: keep,
      comment: "outside clients of our pods keep their address",
    },
    {
      match: [from(network), notTo(MULTICAST[familyOf(network)])],
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
