/**
 * A kernel in memory that behaves like Linux where plans can go wrong: it refuses what Linux
 * refuses, with the same words, and forgets what Linux forgets when a link goes, goes down, or
 * changes its address.
 *
 * @module
 */

import {
  type AddressFact,
  describe,
  type Fact,
  type LinkFact,
  MAIN_TABLE,
  type PortFact,
  type RouteFact,
  slotOf,
  type UpFact,
  type Where,
} from "../../engine/fact.ts";
import { addressOf, contains, FAMILIES, familyOf, lengthOf, networkOf } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import type { Change } from "../../engine/plan.ts";

/** `RTPROT_KERNEL`: routes that the kernel makes for addresses. */
const KERNEL = 2;

/** What a deletion may find: gone already. */
const GONE = [
  "No such device",
  "No such process",
  "No such file or directory",
  "Cannot assign requested address",
];

/** The network state of a node and of one pod. */
export class FakeKernel {
  readonly #facts = new Map<string, Fact>();
  #macs = 0;

  /** Carries changes out, as `Kernel.apply` does: the words of each refusal, in their order. */
  apply(changes: readonly Change[]): (string | undefined)[] {
    return changes.map((change) => {
      const refusal = change.op === "put"
        ? this.#put(change.fact, change.had)
        : this.#delete(change.fact);
      return change.op === "delete" && GONE.includes(refusal ?? "") ? undefined : refusal;
    });
  }

  /** Puts facts, for setting a scene. @throws Error when one is refused */
  give(...facts: readonly Fact[]): void {
    for (const fact of facts) {
      const refusal = this.#put(fact, undefined);
      if (refusal !== undefined) throw new Error(`${describe(fact)}: ${refusal}`);
    }
  }

  /** Another pod is meant from now on: its namespace is empty. */
  nextPod(): void {
    this.#forget((fact) => fact.where === "pod");
  }

  /** Everything that is there. */
  read(): Fact[] {
    return [...this.#facts.values()];
  }

  /** The state in words, sorted: one line for each fact. */
  toString(): string {
    return this.read().map((fact) => `${fact.where}: ${fact.kind} ${describe(fact)}`).sort()
      .join("\n");
  }

  #link(where: Where, name: string): LinkFact | undefined {
    const fact = this.#facts.get(`link ${where} ${name}`);
    return fact?.kind === "link" ? fact : undefined;
  }

  #isUp(where: Where, dev: string): boolean {
    const fact = this.#facts.get(`up ${where} ${dev}`);
    return fact?.kind === "up" && fact.up;
  }

  #set(fact: Fact): void {
    this.#facts.set(slotOf(fact), fact);
  }

  #forget(which: (fact: Fact) => boolean): void {
    for (const [slot, fact] of this.#facts) if (which(fact)) this.#facts.delete(slot);
  }

  #put(fact: Fact, had: Fact | undefined): string | undefined {
    switch (fact.kind) {
      case "link":
        return had === undefined ? this.#create(fact) : this.#change(fact);
      case "up":
        return this.#up(fact);
      case "port":
        return this.#port(fact);
      case "vlan":
        if (this.#link(fact.where, fact.dev) === undefined) return "No such device";
        if (!this.#facts.has(`port ${fact.where} ${fact.dev}`)) return "Operation not supported";
        return void this.#set(fact);
      case "address":
        return this.#address(fact);
      case "route":
        return this.#route(fact);
      case "neighbour":
        if (this.#link(fact.where, fact.dev) === undefined) return "No such device";
        return void this.#set(fact);
      case "fdb": {
        const link = this.#link(fact.where, fact.dev);
        if (link === undefined) return "No such device";
        if (link.driver.kind !== "vxlan") return "Operation not supported";
        return void this.#set(fact);
      }
      case "wireguard":
      case "wireguard-peer": {
        const link = this.#link(fact.where, fact.dev);
        if (link === undefined) return "No such device";
        if (link.driver.kind !== "wireguard") return "Operation not supported";
        return void this.#set(fact);
      }
      case "sysctl": {
        const dev = /^net\/ipv[46]\/conf\/([^/]+)\//.exec(fact.key)?.[1];
        const known = dev === undefined || ["all", "default", "lo"].includes(dev) ||
          this.#link(fact.where, dev) !== undefined;
        if (known) this.#set({ ...fact });
        return known || fact.optional ? undefined : "No such file or directory";
      }
      case "rules":
      case "chain":
        if (fact.text === "") this.#facts.delete(slotOf(fact));
        else this.#set(fact);
        return undefined;
    }
  }

  #create(fact: LinkFact): string | undefined {
    const { where, name, driver } = fact;
    if (this.#facts.has(slotOf(fact))) return "File exists";
    if (driver.kind === "vxlan" && driver.underlay !== undefined) {
      if (this.#link(where, driver.underlay) === undefined) return "No such device";
    }
    if (driver.kind === "veth" && driver.peer !== undefined) {
      const peerWhere = driver.peerWhere ?? where;
      if (this.#link(peerWhere, driver.peer) !== undefined) return "File exists";
      this.#add({
        ...fact,
        where: peerWhere,
        name: driver.peer,
        driver: { kind: "veth", peer: name, peerWhere: where },
      });
    }
    this.#add(fact);
    return undefined;
  }

  #add({ mac, mtu, ...fact }: LinkFact): void {
    const random = parseMac(`02:ff:00:00:00:${(++this.#macs & 255).toString(16).padStart(2, "0")}`);
    this.#set({ ...fact, mac: mac ?? random, mtu: mtu ?? 1500 });
    this.#set({ kind: "up", where: fact.where, dev: fact.name, up: false });
  }

  /** As the request of a change: the driver is not in it. */
  #change(fact: LinkFact): string | undefined {
    const had = this.#link(fact.where, fact.name);
    if (had === undefined) return "No such device";
    const { mac = had.mac, mtu = had.mtu, promisc = had.promisc } = fact;
    this.#set({
      ...had,
      ...(mac === undefined ? {} : { mac }),
      ...(mtu === undefined ? {} : { mtu }),
      ...(promisc === undefined ? {} : { promisc }),
    });
    if (mac !== had.mac) {
      this.#forget((f) => f.kind === "neighbour" && f.where === fact.where && f.dev === fact.name);
    }
    return undefined;
  }

  #up(fact: UpFact): string | undefined {
    const { where, dev, up } = fact;
    if (this.#link(where, dev) === undefined) return "No such device";
    this.#set(fact);
    if (up) {
      for (const address of this.read()) {
        if (address.kind === "address" && address.where === where && address.dev === dev) {
          this.#connect(address);
        }
      }
    } else {
      this.#forget((f) =>
        (f.kind === "route" || f.kind === "neighbour") && f.where === where && f.dev === dev
      );
    }
    return undefined;
  }

  /** The route to an address's own network. */
  #connect({ where, dev, inet }: AddressFact): void {
    if (lengthOf(inet) === FAMILIES[familyOf(inet)].bits) return;
    const metric = familyOf(inet) === 4 ? 0 : 256;
    const fact: RouteFact = {
      kind: "route",
      where,
      dst: networkOf(inet),
      dev,
      protocol: KERNEL,
      metric,
      ...(familyOf(inet) === 4 ? { scope: 253, src: addressOf(inet) } : { scope: 0 }),
    };
    if (!this.#facts.has(slotOf(fact))) this.#set(fact);
  }

  #port(fact: PortFact): string | undefined {
    const { where, dev, bridge } = fact;
    if (this.#link(where, dev) === undefined) return "No such device";
    const master = this.#link(where, bridge);
    if (master === undefined) return "No such device";
    if (master.driver.kind !== "bridge") {
      // The old master has let it go by then.
      this.#facts.delete(slotOf(fact));
      return "Operation not supported";
    }
    const had = this.#facts.get(slotOf(fact));
    const settings = had?.kind === "port" && had.bridge === bridge
      ? had
      : { hairpin: false, isolated: false };
    this.#set({ ...settings, ...fact });
    return undefined;
  }

  #address(fact: AddressFact): string | undefined {
    if (this.#link(fact.where, fact.dev) === undefined) return "No such device";
    // "File exists" is success, and nothing changes.
    if (this.#facts.has(slotOf(fact))) return undefined;
    this.#set(fact);
    if (this.#isUp(fact.where, fact.dev)) this.#connect(fact);
    return undefined;
  }

  #route(fact: RouteFact): string | undefined {
    const { where, dev, via, blackhole } = fact;
    if (!blackhole) {
      if (dev === undefined || this.#link(where, dev) === undefined) return "No such device";
      if (via !== undefined && !fact.onlink && !this.#isNear(fact)) {
        return familyOf(via) === 4 ? "Nexthop has invalid gateway" : "No route to host";
      }
      if (!this.#isUp(where, dev)) return "Nexthop device is not up";
    }
    const metric = fact.metric || (familyOf(fact.dst) === 4 ? 0 : 1024);
    const scope = fact.scope ??
      (via === undefined && !blackhole && familyOf(fact.dst) === 4 ? 253 : 0);
    this.#set({ protocol: 3, table: MAIN_TABLE, ...fact, metric, scope });
    return undefined;
  }

  /** A gateway must be in a network that the device reaches without one. */
  #isNear({ where, dev, via }: RouteFact): boolean {
    return via !== undefined &&
      this.read().some((f) =>
        f.kind === "route" && f.where === where && f.dev === dev && f.via === undefined &&
        familyOf(f.dst) === familyOf(via) && contains(f.dst, via)
      );
  }

  #delete(fact: Fact): string | undefined {
    const slot = slotOf(fact);
    const had = this.#facts.get(slot);
    switch (fact.kind) {
      case "link": {
        if (had === undefined) return "No such device";
        const { driver } = had as LinkFact;
        this.#remove(fact.where, fact.name);
        if (driver.kind === "veth" && driver.peer !== undefined) {
          this.#remove(driver.peerWhere ?? fact.where, driver.peer);
        }
        return undefined;
      }
      case "address": {
        if (had === undefined) return "Cannot assign requested address";
        this.#facts.delete(slot);
        const family = familyOf(fact.inet);
        const isLast = !this.read().some((f) =>
          f.kind === "address" && f.where === fact.where && f.dev === fact.dev &&
          familyOf(f.inet) === family
        );
        this.#forget((f) =>
          f.kind === "route" && f.where === fact.where && f.dev === fact.dev &&
          familyOf(f.dst) === family &&
          (isLast || (f.protocol === KERNEL && f.dst === networkOf(fact.inet)))
        );
        return undefined;
      }
      case "route": {
        const same = had?.kind === "route" && had.via === fact.via && had.dev === fact.dev &&
          (fact.protocol === undefined || had.protocol === fact.protocol);
        if (!same) return "No such process";
        this.#facts.delete(slot);
        return undefined;
      }
      case "up":
      case "sysctl":
      case "wireguard":
        throw new Error(`settings are not deleted: ${slot}`);
      case "port":
      case "vlan":
      case "neighbour":
      case "fdb":
      case "wireguard-peer":
      case "rules":
      case "chain":
        return this.#facts.delete(slot) ? undefined : "No such file or directory";
    }
  }

  /** A link goes, with all that hangs on it. */
  #remove(where: Where, name: string): void {
    this.#forget((f) => {
      if (f.where !== where) return false;
      switch (f.kind) {
        case "link":
          return f.name === name;
        case "port":
          return f.dev === name || f.bridge === name;
        case "sysctl":
          return f.key.includes(`/conf/${name}/`);
        case "rules":
        case "chain":
          return false;
        case "up":
        case "vlan":
        case "address":
        case "route":
        case "neighbour":
        case "fdb":
        case "wireguard":
        case "wireguard-peer":
          return f.dev === name;
      }
    });
  }
}
