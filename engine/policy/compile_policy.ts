/**
 * One policy as chains, and the sets that these look into. The chain does not depend on who is in
 * the sets, so pods that come and go change elements only.
 *
 * @module
 */

import type { Family } from "../ip.ts";
import { sha512 } from "../sha512.ts";
import {
  type Direction,
  keyOf,
  type Peer,
  type PodScope,
  type Policy,
  type PolicyRule,
  type Port,
  type Protocol,
  PROTOCOLS,
} from "./model.ts";
import { rangesOf, rangeText } from "./ranges.ts";
import type { ChainRule, PolicyChain, PolicyMatch } from "./table.ts";

/** A set that a chain looks into, and who belongs there. */
export type Need =
  & { readonly name: string; readonly family: Family; readonly comment: string }
  & (
    | { readonly kind: "pods"; readonly of: PodScope }
    | { readonly kind: "ranges"; readonly elements: ReadonlySet<string> }
    | { readonly kind: "ports"; readonly protocol: Protocol; readonly port: string }
  );

/** What one direction of a policy comes to. */
export interface CompiledPolicy {
  readonly name: string;
  readonly chain: PolicyChain;
  readonly needs: readonly Need[];
}

/** What differs between the directions. */
export const SIDES = {
  ingress: { prefix: "in", peer: "source", allowed: { kind: "remember" } },
  egress: { prefix: "out", peer: "destination", allowed: { kind: "accept" } },
} as const satisfies Record<Direction, unknown>;

/** The longest name that we give a chain; the kernel takes 255 letters (`NFT_NAME_MAXLEN`). */
const LONGEST_NAME = 200;
/** The longest comment that nft takes, bytes. */
const LONGEST_COMMENT = 128;

/** Letters enough that nobody finds two texts with the same. */
export function digest(text: string): string {
  return sha512(text).slice(0, 24);
}

/** A comment that nft takes. */
export function commentOf(text: string): string {
  // Names and labels have only plain letters; what else gets here must not end the comment.
  const plain = text.replaceAll(/[^ !#-[\]-~]/g, "'");
  return plain.length <= LONGEST_COMMENT ? plain : `${plain.slice(0, LONGEST_COMMENT - 3)}...`;
}

/** The name of a policy's chain. A `/` is in no name, so that it is never another policy's. */
export function policyChainName(direction: Direction, policy: Policy): string {
  const name = `${SIDES[direction].prefix}/${keyOf(policy)}`;
  return name.length <= LONGEST_NAME && /^[\w./-]+$/.test(name)
    ? name
    : `${SIDES[direction].prefix}/${digest(name)}`;
}

/** One direction of a policy, for packets of these families. */
export function compilePolicy(
  policy: Policy,
  direction: Direction,
  families: readonly Family[],
): CompiledPolicy {
  const needs = new Map<string, Need>();
  const use = (need: Need): string => {
    needs.set(need.name, need);
    return need.name;
  };
  const { allowed: verdict } = SIDES[direction];
  const rules = (policy[direction] ?? []).flatMap((rule): ChainRule[] => {
    // Where no family is spoken of, one rule does for both.
    const shared = rule.peers === undefined ? portMatches(rule.ports, undefined, use) : [];
    const own = families.flatMap((family) =>
      peerMatches(rule, direction, family, use).flatMap((peer) =>
        portMatches(rule.ports, family, use)
          .filter((port) => peer.length > 0 || port.some(({ kind }) => kind === "named-port"))
          .map((port) => [...peer, ...port])
      )
    );
    return [...shared, ...own].map((match) => ({ match, verdict }));
  });
  return {
    name: policyChainName(direction, policy),
    chain: { comment: commentOf(keyOf(policy)), rules },
    needs: [...needs.values()],
  };
}

type Use = (need: Need) => string;

/** The ways to be a peer, each a list of matches; an empty list: anybody. */
function peerMatches(
  { peers }: PolicyRule,
  direction: Direction,
  family: Family,
  use: Use,
): PolicyMatch[][] {
  if (peers === undefined) return [[]];
  const isBlock = (peer: Peer): peer is Peer & { kind: "block" } => peer.kind === "block";
  const ranges = rangesOf(peers.filter(isBlock), family).map((range) => rangeText(family, range));
  const sets = new Set(
    peers.flatMap((peer) => peer.kind === "block" ? [] : [use(podsNeed(peer.of, family))]),
  );
  if (ranges.length > 0) {
    sets.add(use({
      name: `blocks${family}-${digest(ranges.join())}`,
      family,
      comment: commentOf(ranges.join(" ")),
      kind: "ranges",
      elements: new Set(ranges),
    }));
  }
  const { peer: side } = SIDES[direction];
  return [...sets].map((set) => [{ kind: "address", side, family, set }]);
}

function podsNeed(of: PodScope, family: Family): Need {
  const { namespaces, pods } = of;
  const where = typeof namespaces === "string"
    ? `in namespace ${namespaces}`
    : namespaces.text === ""
    ? "in all namespaces"
    : `in namespaces ${namespaces.text}`;
  const text = `pods ${pods.text === "" ? "" : `${pods.text} `}${where}`;
  return {
    name: `peers${family}-${digest(text)}`,
    family,
    comment: commentOf(text),
    kind: "pods",
    of,
  };
}

/**
 * The ways to be one of the ports, each a list of matches.
 *
 * @param family absent: only those that do not depend on it.
 */
function portMatches(
  ports: readonly Port[] | undefined,
  family: Family | undefined,
  use: Use,
): PolicyMatch[][] {
  if (ports === undefined) return [[]];
  const numbers = PROTOCOLS.flatMap((protocol): PolicyMatch[] => {
    const ranges = mergedRanges(ports, protocol);
    const all = ranges.some(([first, last]) => first === 0 && last === 65535);
    if (all) return [{ kind: "protocol", protocol }];
    return ranges.length === 0 ? [] : [{ kind: "ports", protocol, ranges }];
  });
  const names = ports.flatMap((port): PolicyMatch[] => {
    if (port.kind !== "named" || family === undefined) return [];
    const { protocol, name } = port;
    const set = use({
      name: `port${family}/${protocol.toLowerCase()}/${name}`,
      family,
      comment: commentOf(`${protocol} ports named ${name}`),
      kind: "ports",
      protocol,
      port: name,
    });
    return [{ kind: "named-port", protocol, family, set }];
  });
  return [...numbers, ...names].map((match) => [match]);
}

/** Sorted and disjoint. */
function mergedRanges(ports: readonly Port[], protocol: Protocol): [number, number][] {
  const out: [number, number][] = [];
  const ranges = ports.flatMap((port) =>
    port.kind === "range" && port.protocol === protocol ? [port] : []
  );
  for (const { first, last } of ranges.sort((a, b) => a.first - b.first)) {
    const before = out.at(-1);
    if (before === undefined || before[1] + 1 < first) out.push([first, last]);
    else before[1] = Math.max(before[1], last);
  }
  return out;
}
