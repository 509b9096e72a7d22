/**
 * One packet's way through all chains, as far as it can be told: each condition holds, does not, or
 * cannot be judged. Pure.
 *
 * @module
 */

import { addressOf, contains, type Family, familyOf, type Ip } from "../../engine/ip.ts";
import type { Chain, Clause, Hook, Rule } from "./model.ts";

/** A packet; what is absent cannot be judged. The first of a connection, without a mark. */
export interface Packet {
  /** In words: `a pod to a pod of another node`. */
  readonly name: string;
  readonly family: Family;
  readonly from?: Ip;
  readonly to?: Ip;
  readonly in?: string;
  readonly out?: string;
  readonly protocol?: string;
  readonly port?: number;
  /** One end is an address of this node. */
  readonly fromNode?: boolean;
  readonly toNode?: boolean;
  readonly hooks: readonly Hook[];
}

/** Does it hold? */
export type Truth = boolean | "perhaps";

/** A rule, or a chain's policy, and the chain where it stands. */
export interface Place {
  readonly chain: Chain;
  /** Absent for the policy. */
  readonly rule?: Rule;
}

/** What became of a packet. */
export interface Way {
  /** Where it ends, for sure. */
  readonly dropped?: Place;
  /** Where it may end, or not. */
  readonly perhapsDropped: readonly Place[];
  /** Where its source address is changed, for sure. */
  readonly masqueraded?: Place;
  readonly perhapsMasqueraded: readonly Place[];
  /** Rules that let it through in chains before the end. */
  readonly accepted: readonly Place[];
}

/** Chains nest this deep at most; the kernel's own limit is 16. */
const DEEPEST = 16;

/** Sends a packet through all base chains of its hooks. */
export function walk(chains: readonly Chain[], packet: Packet): Way {
  return new Walk(chains, packet).run();
}

/** The base chains of a hook in the order in which packets meet them. */
export function baseChains(chains: readonly Chain[], hook: Hook): Chain[] {
  return chains.filter(({ base }) => base?.hook === hook)
    .sort((a, b) => a.base!.priority - b.base!.priority);
}

type End = "accept" | "drop" | "nat" | "return" | undefined;

class Walk {
  readonly #packet: Packet;
  readonly #chains: readonly Chain[];
  readonly #byName = new Map<string, Chain>();
  #dropped: Place | undefined;
  #masqueraded: Place | undefined;
  readonly #perhapsDropped: Place[] = [];
  readonly #perhapsMasqueraded: Place[] = [];
  readonly #accepted: Place[] = [];
  #marked = false;

  constructor(chains: readonly Chain[], packet: Packet) {
    this.#packet = packet;
    this.#chains = chains.filter(({ family }) =>
      family === "inet" || family === (packet.family === 4 ? "ip" : "ip6")
    );
    for (const chain of this.#chains) this.#byName.set(keyOf(chain, chain.name), chain);
  }

  run(): Way {
    for (const hook of this.#packet.hooks) {
      for (const chain of baseChains(this.#chains, hook)) {
        // Once its address is changed, a packet meets no other chain of that kind.
        if (chain.base?.type === "nat" && this.#masqueraded !== undefined) continue;
        const { end, sure } = this.#through(chain, true, 0);
        const left = end === undefined || end === "return";
        if (left && chain.base?.policy === "drop") this.#drop({ chain }, sure);
        // Once it is dropped it meets nothing more; but what it would meet is worth telling too.
      }
    }
    return this.#way();
  }

  #way(): Way {
    return {
      ...(this.#dropped === undefined ? {} : { dropped: this.#dropped }),
      ...(this.#masqueraded === undefined ? {} : { masqueraded: this.#masqueraded }),
      perhapsDropped: this.#perhapsDropped,
      perhapsMasqueraded: this.#perhapsMasqueraded,
      accepted: this.#accepted,
    };
  }

  #drop(place: Place, sure: boolean): void {
    if (sure) this.#dropped ??= place;
    else this.#perhapsDropped.push(place);
  }

  /**
   * @param sure the packet comes here for sure.
   * @returns how it left, and whether it would still be here for sure, were there no end.
   */
  #through(
    chain: Chain,
    sure: boolean,
    depth: number,
  ): { readonly end: End; readonly sure: boolean } {
    let here = sure;
    for (const rule of chain.rules) {
      const truth = holds(rule, this.#packet, this.#marked);
      if (truth === false) continue;
      const certain = here && truth === true;
      const { verdict } = rule;
      const place = { chain, rule };
      switch (verdict.kind) {
        case "accept":
          if (certain) {
            this.#accepted.push(place);
            return { end: "accept", sure };
          }
          here = false;
          break;
        case "drop":
        case "reject":
          this.#drop(place, certain);
          if (certain) return { end: "drop", sure };
          here = false;
          break;
        case "return":
          if (truth === true) return { end: "return", sure: here };
          here = false;
          break;
        case "masquerade":
        case "snat":
          if (certain) {
            this.#masqueraded ??= place;
            return { end: "nat", sure };
          }
          this.#perhapsMasqueraded.push(place);
          here = false;
          break;
        case "mark":
          this.#marked = true;
          break;
        case "jump":
        case "goto": {
          const target = this.#byName.get(keyOf(chain, verdict.chain));
          if (target === undefined || depth >= DEEPEST) {
            here = false;
            break;
          }
          const { end, sure: after } = this.#through(target, certain, depth + 1);
          if (certain && end !== undefined && end !== "return") return { end, sure };
          if (verdict.kind === "goto" && truth === true) return { end: "return", sure: after };
          here = here && (certain ? after : !mayEnd(target));
          break;
        }
        case "dnat":
        case "redirect":
        case "other":
          // It may go on elsewhere.
          here = false;
          break;
        case "continue":
          break;
      }
    }
    return { end: depth === 0 ? undefined : "return", sure: here };
  }
}

/** A chain from which a packet may not come back. */
function mayEnd({ rules }: Chain): boolean {
  return rules.some(({ verdict }) => !["continue", "mark", "return"].includes(verdict.kind));
}

function keyOf({ program, family, table }: Chain, name: string): string {
  return `${program} ${family} ${table} ${name}`;
}

/** Whether a rule matches a packet. @param marked it may have got a mark on its way */
export function holds({ clauses }: Rule, packet: Packet, marked = false): Truth {
  let all: Truth = true;
  for (const clause of clauses) {
    const truth = holdsOne(clause, packet, marked);
    if (truth === false) return false;
    if (truth === "perhaps") all = "perhaps";
  }
  return all;
}

function holdsOne(clause: Clause, packet: Packet, marked: boolean): Truth {
  const truth = plainly(clause, packet, marked);
  return truth === "perhaps" ? truth : truth !== clause.not;
}

function plainly(clause: Clause, packet: Packet, marked: boolean): Truth {
  switch (clause.kind) {
    case "source":
      return inNets(clause.nets, packet.from);
    case "destination":
      return inNets(clause.nets, packet.to);
    case "in":
      return isNamed(clause.names, packet.in);
    case "out":
      return isNamed(clause.names, packet.out);
    case "protocol":
      if (packet.protocol === undefined) return "perhaps";
      return clause.names.some((name) => name === packet.protocol || name === "all");
    case "source-port":
      return "perhaps";
    case "destination-port": {
      const { port } = packet;
      if (port === undefined) return "perhaps";
      return clause.ports.some(([first, last]) => first <= port && port <= last);
    }
    case "state":
      return clause.states.includes("new");
    case "mark":
      if (marked) return "perhaps";
      return (clause.mask & 0) === clause.value;
    case "source-local":
      return packet.fromNode ?? false;
    case "destination-local":
      return packet.toNode ?? false;
    case "family":
      return clause.family === packet.family;
    case "other":
      return "perhaps";
  }
}

function inNets(nets: readonly (Parameters<typeof contains>[0])[], ip: Ip | undefined): Truth {
  if (ip === undefined) return "perhaps";
  return nets.some((net) => familyOf(addressOf(net)) === familyOf(ip) && contains(net, ip));
}

function isNamed(names: readonly string[], device: string | undefined): Truth {
  if (device === undefined) return "perhaps";
  return names.some((name) =>
    /[*+]$/.test(name) ? device.startsWith(name.slice(0, -1)) : name === device
  );
}
