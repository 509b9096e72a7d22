/**
 * What a host's rules do with one packet of a new connection, hook by hook. Pure.
 *
 * A condition that is not understood makes its rule one that "may act": it is listed, and the packet
 * goes on as if it did not match. Rules of kube-proxy, flannel and twill are all understood.
 *
 * @module
 */

import { familyOf, type Ip } from "../ip.ts";
import { inRanges } from "./ranges.ts";
import {
  type Action,
  type Base,
  type Field,
  type Hook,
  type Match,
  type TraceChain,
  type TraceRule,
  type TraceTable,
} from "./rules.ts";

/** The packet at one point of its way. */
export interface TracePacket {
  readonly src: Ip;
  readonly dst: Ip;
  /** `tcp`, `udp`, `icmp`, …. */
  readonly protocol: string;
  readonly sport?: number;
  readonly dport?: number;
  readonly mark: number;
}

/** What is around the packet. */
export interface Surroundings {
  readonly iif?: string;
  readonly oif?: string;
  /** Whether an address is one of this host. */
  readonly isLocal: (ip: Ip) => boolean;
  /** Of several by chance, which one: 0, 1, …. */
  readonly take: number;
}

/** A rule, and where it stands. */
export interface PlacedRule {
  readonly table: string;
  readonly chain: string;
  readonly rule: TraceRule;
}

/** What became of the packet at a hook. */
export interface HookResult {
  readonly verdict: "accept" | "drop" | "reject";
  /** Who decided a drop; absent: a chain's policy, see `policy`. */
  readonly by?: PlacedRule;
  /** The base chain whose policy dropped it. */
  readonly policy?: { readonly table: string; readonly chain: string };
  readonly packet: TracePacket;
  /** Rules that changed the packet, or decided about it. */
  readonly acted: readonly PlacedRule[];
  /** Rules that may act: they are not understood. */
  readonly maybe: readonly PlacedRule[];
  /** The source becomes that of the outgoing link. */
  readonly masqueraded: boolean;
  /** How many ways there are by chance; at least 1. */
  readonly ways: number;
}

/** The longest chain of jumps that the kernel takes. */
const DEEPEST = 16;

/** Runs the packet through all base chains of a hook, in the order of their priorities. */
export function runHook(
  tables: readonly TraceTable[],
  hook: Hook,
  packet: TracePacket,
  around: Surroundings,
): HookResult {
  const bases = tables.filter(({ family }) =>
    family === undefined || family === familyOf(packet.dst)
  )
    .flatMap((table) => [...table.chains.values()].map((chain) => ({ table, chain })))
    .filter((one): one is typeof one & { chain: TraceChain & { base: Base } } =>
      one.chain.base?.hook === hook
    )
    .toSorted((a, b) => a.chain.base.priority - b.chain.base.priority);
  const run = new Run(packet, around);
  for (const { table, chain } of bases) {
    // The first that translates addresses decides; the others are not asked.
    if (chain.base.type === "nat" && run.translated) continue;
    const end = run.chain(table, chain, 0);
    const over = end === "end" || end === "return";
    const verdict = over ? chain.base.policy : end;
    if (verdict === "accept") continue;
    return run.result(verdict, over ? { table: table.name, chain: chain.name } : undefined);
  }
  return run.result("accept", undefined);
}

/** How a chain ends: with a verdict, by `return`, or at its last rule. */
type End = "accept" | "drop" | "reject" | "return" | "end";

class Run {
  packet: TracePacket;
  translated = false;
  readonly #around: Surroundings;
  readonly #acted: PlacedRule[] = [];
  readonly #maybe: PlacedRule[] = [];
  #by: PlacedRule | undefined;
  #masqueraded = false;
  #chances = 0;
  #ways = 1;

  constructor(packet: TracePacket, around: Surroundings) {
    this.packet = packet;
    this.#around = around;
  }

  result(verdict: HookResult["verdict"], policy: HookResult["policy"]): HookResult {
    return {
      verdict,
      ...(verdict === "accept" || policy !== undefined || this.#by === undefined
        ? {}
        : { by: this.#by }),
      ...(policy === undefined ? {} : { policy }),
      packet: this.packet,
      acted: this.#acted,
      maybe: this.#maybe,
      masqueraded: this.#masqueraded,
      ways: Math.max(this.#ways, this.#chances + 1),
    };
  }

  chain(table: TraceTable, chain: TraceChain, depth: number): End {
    for (const rule of chain.rules) {
      const placed = { table: table.name, chain: chain.name, rule };
      const truth = this.#matches(rule);
      if (truth === false) continue;
      if (truth === "unknown" || rule.actions.some(({ kind }) => kind === "unknown")) {
        if (matters(rule)) this.#maybe.push(placed);
        if (truth === "unknown") continue;
      }
      const end = this.#act(table, placed, depth);
      if (end !== "end") return end;
    }
    return "end";
  }

  #act(table: TraceTable, placed: PlacedRule, depth: number): End {
    for (const action of placed.rule.actions) {
      const end = this.#one(table, placed, action, depth);
      if (end !== "end") return end;
    }
    return "end";
  }

  #one(table: TraceTable, placed: PlacedRule, action: Action, depth: number): End {
    switch (action.kind) {
      case "accept":
      case "drop":
      case "reject":
        this.#by = placed;
        this.#acted.push(placed);
        return action.kind;
      case "return":
        return "return";
      case "continue":
      case "unknown":
        return "end";
      case "mark":
        this.#acted.push(placed);
        this.packet = {
          ...this.packet,
          mark: ((this.packet.mark & action.keep) ^ action.flip) >>> 0,
        };
        return "end";
      case "dnat": {
        this.#acted.push(placed);
        this.translated = true;
        const { ip = this.packet.dst, port } = action;
        this.packet = { ...this.packet, dst: ip, ...(port === undefined ? {} : { dport: port }) };
        return "accept";
      }
      case "snat":
        this.#acted.push(placed);
        this.translated = true;
        this.#masqueraded = true;
        if (action.ip !== undefined) this.packet = { ...this.packet, src: action.ip };
        return "accept";
      case "jump":
      case "goto": {
        const next = table.chains.get(action.chain);
        if (next === undefined || depth >= DEEPEST) return "end";
        const end = this.chain(table, next, depth + 1);
        if (end !== "end" && end !== "return") return end;
        // After goto nobody comes back here.
        return action.kind === "goto" ? "return" : "end";
      }
      case "map": {
        const found = this.#lookUp(action.fields, action.map);
        return found === undefined ? "end" : this.#one(table, placed, found, depth);
      }
    }
  }

  #lookUp(fields: readonly Field[], map: ReadonlyMap<string, Action>): Action | undefined {
    if (fields.length === 1 && fields[0] === "chance") {
      this.#ways = Math.max(this.#ways, map.size);
      return [...map.values()][this.#around.take];
    }
    const key = fields.map((field) => this.#value(field)).join(" . ");
    return map.get(key);
  }

  #value(field: Field): string {
    const { src, dst, protocol, sport, dport } = this.packet;
    switch (field) {
      case "saddr":
        return src;
      case "daddr":
        return dst;
      case "protocol":
        return protocol;
      case "sport":
        return String(sport ?? "");
      case "dport":
        return String(dport ?? "");
      case "iif":
        return this.#around.iif ?? "";
      case "oif":
        return this.#around.oif ?? "";
      case "chance":
        return String(this.#around.take);
    }
  }

  #matches(rule: TraceRule): boolean | "unknown" {
    let unknown = false;
    for (const match of rule.matches) {
      if (match.kind === "chance") continue;
      const truth = this.#match(match);
      if (truth === false) return false;
      if (truth === "unknown") unknown = true;
    }
    if (unknown) return "unknown";
    if (!rule.matches.some(({ kind }) => kind === "chance")) return true;
    return this.#chances++ === this.#around.take;
  }

  #match(match: Match): boolean | "unknown" {
    const { src, dst, protocol, sport, dport, mark } = this.packet;
    switch (match.kind) {
      case "address": {
        const ip = match.side === "source" ? src : dst;
        return inRanges(ip, match.ranges) !== match.not;
      }
      case "protocol":
        return match.names.some((name) => isProtocol(name, this.packet)) !== match.not;
      case "tuple":
        return match.elements.has(match.fields.map((field) => this.#value(field)).join(" . ")) !==
          match.not;
      case "connection-mark":
        return (match.value === 0) !== match.not;
      case "direction":
        return (match.name === "original") !== match.not;
      case "icmp-type":
        if (protocol !== "icmp" || match.family !== familyOf(dst)) return false;
        // What is asked about is a ping.
        return match.names.includes("echo-request") !== match.not;
      case "port": {
        const port = match.side === "source" ? sport : dport;
        if (port === undefined) {
          // The source's port is chosen by chance; icmp has none.
          return protocol === "tcp" || protocol === "udp" || protocol === "sctp"
            ? "unknown"
            : false;
        }
        return match.ranges.some(({ first, last }) => first <= port && port <= last) !== match.not;
      }
      case "link": {
        const name = (match.side === "in" ? this.#around.iif : this.#around.oif) ?? "";
        return match.names.some((one) => named(one, name)) !== match.not;
      }
      case "mark":
        return ((mark & match.mask) >>> 0 === match.value) !== match.not;
      case "state":
        return match.names.includes("new") !== match.not;
      case "local":
        return this.#around.isLocal(match.side === "source" ? src : dst) !== match.not;
      case "recent":
        // The first packet of somebody new.
        return match.not;
      case "family":
        return match.family === familyOf(dst);
      case "chance":
        return true;
      case "unknown":
        return "unknown";
    }
  }
}

/** ICMP has another name, and another number, in IPv6. */
function isProtocol(name: string, { protocol, dst }: TracePacket): boolean {
  if (protocol !== "icmp" || familyOf(dst) === 4) return name === protocol;
  return name === "icmpv6" || name === "ipv6-icmp";
}

function named(pattern: string, name: string): boolean {
  return /[*+]$/.test(pattern) ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** A rule that only counts or logs changes nothing. */
function matters({ actions }: TraceRule): boolean {
  return actions.some(({ kind }) => kind !== "continue" && kind !== "return");
}
