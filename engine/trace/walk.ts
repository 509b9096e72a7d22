/**
 * The way of one packet through a node, hop by hop, as the kernel's own tables decide it. Nothing is
 * sent. Pure, but for the questions to the world.
 *
 * ```text
 * pod → veth → bridge → prerouting (DNAT) → route → forward → postrouting (masquerade)
 *     → bridge → pod          to a pod of this node
 *     → VTEP → neighbour → FDB → outer packet → uplink    to a pod of another
 *     → tunnel → WireGuard's peer or the gateway → outer packet → uplink    with other backends
 *     → uplink                to anywhere else
 * ```
 *
 * @module
 */

import { familyOf, type Ip } from "../ip.ts";
import { type HookResult, runHook, type TracePacket } from "./evaluate.ts";
import type { RouteAnswer } from "./lookup.ts";
import type { Encapsulated } from "./marked.ts";
import { deliver } from "./deliver.ts";
import { peerOf } from "./outer.ts";
import { leave } from "./overlay_hops.ts";
import type { Hook } from "./rules.ts";
import { dropped, ends, routeText, ruleText } from "./words.ts";
import type { Ending, Hop, HopFault, Trace, TracePod, TraceWorld } from "./world.ts";

/** Where the packet comes from. */
export type Origin =
  | { readonly kind: "pod"; readonly pod: TracePod }
  /** A process of this node. */
  | { readonly kind: "node" }
  /** It comes in by a link. */
  | { readonly kind: "link"; readonly dev: string };

/** The packet on its way; hops are added to it. */
export class Walk {
  readonly world: TraceWorld;
  readonly hops: Hop[] = [];
  packet: TracePacket;
  ways = 1;
  /** What is around the packet when it leaves. */
  outer: Encapsulated | undefined;
  /** Which of several endpoints is followed. */
  readonly take: number;
  /** The pod that sent it. */
  readonly sender: TracePod | undefined;

  constructor(world: TraceWorld, origin: Origin, packet: TracePacket, take: number) {
    this.world = world;
    this.packet = packet;
    this.take = take;
    this.sender = origin.kind === "pod" ? origin.pod : undefined;
  }

  /** Adds a hop. */
  add(hop: Omit<Hop, "maybe"> & Partial<Pick<Hop, "maybe">>): void {
    this.hops.push({ maybe: [], ...hop });
  }

  /** Adds the hop at which the packet ends. */
  fail(hop: Omit<Hop, "maybe" | "fault">, fault: HopFault): Ending {
    this.add({ ...hop, fault });
    return "fails";
  }

  /** Runs the packet through a hook. False: it ends there. */
  rules(
    hook: Hook,
    links: { readonly iif?: string; readonly oif?: string },
  ): HookResult | undefined {
    const { world } = this;
    if (typeof world.tables === "string") {
      this.add({ step: hook, at: hook, what: `rules are not known: ${world.tables}` });
      return accepted(this.packet);
    }
    const isLocal = (ip: Ip): boolean => world.addresses.has(ip);
    const result = runHook(world.tables, hook, this.packet, { ...links, isLocal, take: this.take });
    this.ways = Math.max(this.ways, result.ways);
    const { maybe } = result;
    if (result.verdict !== "accept") {
      this.fail(...dropped(hook, result));
      return undefined;
    }
    const before = this.packet;
    this.packet = result.packet;
    const translated = before.dst !== this.packet.dst || before.dport !== this.packet.dport;
    if (translated) {
      const rule = result.acted.findLast(({ rule }) => rule.actions.some((a) => a.kind === "dnat"));
      const others = result.ways > 1 ? `, one of ${result.ways} endpoints` : "";
      this.add({
        step: "dnat",
        at: rule?.table ?? hook,
        what: `${ends(before)} becomes ${ends(this.packet)}${others}`,
        ...(rule === undefined ? {} : { entry: ruleText(rule) }),
        maybe,
      });
    } else if (!result.masqueraded) {
      const last = result.acted.at(-1);
      this.add({
        step: hook,
        at: last?.table ?? hook,
        what: last === undefined ? "no rule acts" : "passes",
        ...(last === undefined ? {} : { entry: ruleText(last) }),
        maybe,
      });
    }
    return result;
  }
}

function accepted(packet: TracePacket): HookResult {
  return { verdict: "accept", packet, acted: [], maybe: [], masqueraded: false, ways: 1 };
}

/**
 * Follows a packet through this node.
 *
 * @param take where a service has several endpoints: which one, from 0.
 */
export function walk(world: TraceWorld, origin: Origin, packet: TracePacket, take = 0): Trace {
  const one = new Walk(world, origin, packet, take);
  const ending = start(one, origin);
  const next = ending === "leaves" ? peerOf(one) : undefined;
  return {
    hops: one.hops,
    ending,
    packet: one.packet,
    ways: one.ways,
    ...(one.outer === undefined ? {} : { outer: one.outer }),
    ...(next === undefined ? {} : { next }),
  };
}

function start(one: Walk, origin: Origin): Ending {
  switch (origin.kind) {
    case "pod":
      return fromPod(one, origin.pod);
    case "node":
      return fromNode(one);
    case "link":
      return arrive(one, origin.dev);
  }
}

function fromPod(one: Walk, pod: TracePod): Ending {
  const { world } = one;
  let direct = false;
  if (pod.netns === undefined) {
    one.add({
      step: "pod-route",
      at: pod.name,
      what: "its namespace cannot be entered: its own routes are taken for fine",
    });
  } else {
    const answer = world.lookUp(pod.netns, { to: one.packet.dst });
    const at = `${pod.name} ${pod.ifname}`;
    if (answer.kind === "local") {
      one.add({ step: "pod-route", at, what: "it is the pod's own address: never leaves the pod" });
      return "delivered";
    }
    if (answer.kind === "none") {
      return one.fail({ step: "pod-route", at, what: `the pod has no route: ${answer.words}` }, {
        id: "pod-no-route",
        short: "no route in the pod",
        fix:
          "the plugin makes a default route by cni0's address (isDefaultGateway): see what was " +
          "changed in the pod; a new pod has it again",
        command: `nsenter --net=${pod.netns} ip route`,
      });
    }
    direct = answer.via === undefined;
    const mtu = pod.mtu === undefined ? "" : `, packets of at most ${pod.mtu} bytes`;
    one.add({
      step: "pod-route",
      at,
      what: `${direct ? "straight to its neighbour" : `to its gateway ${answer.via}`}${mtu}`,
      entry: routeText(answer),
    });
  }
  const veth = pod.veth === undefined ? undefined : world.links.get(pod.veth);
  if (veth === undefined) {
    return one.fail({
      step: "veth",
      at: pod.veth ?? "?",
      what: "the pod's other end is not on this node",
    }, {
      id: "no-veth",
      short: "no veth",
      fix: "delete the pod; its successor gets a new pair",
    });
  }
  if (!veth.up || veth.bridge === undefined) {
    const what = veth.up ? "is plugged into no bridge" : "is down";
    return one.fail({ step: "veth", at: veth.name, what: `the node's end of the pair ${what}` }, {
      id: "veth-unplugged",
      short: veth.up ? "unplugged" : "down",
      fix: "plug it in again:",
      command: veth.up ? `ip link set ${veth.name} master cni0` : `ip link set ${veth.name} up`,
    });
  }
  one.add({ step: "veth", at: veth.name, what: `comes out on the node, port of ${veth.bridge}` });
  const bridge = veth.bridge;
  if (world.links.get(bridge)?.up === false) {
    return one.fail({ step: "bridge", at: bridge, what: "the bridge is down" }, {
      id: "bridge-down",
      short: "bridge is down",
      fix: "set it up:",
      command: `ip link set ${bridge} up`,
    });
  }
  return direct && !world.addresses.has(one.packet.dst)
    ? bridged(one, bridge)
    : arrive(one, bridge);
}

/** Between two pods of one bridge: the rules see it only if br_netfilter shows it to them. */
function bridged(one: Walk, bridge: string): Ending {
  const family = familyOf(one.packet.dst);
  const key = family === 4 ? "iptables" : "ip6tables";
  const { dst } = one.packet;
  if (one.world.sysctl(`net/bridge/bridge-nf-call-${key}`) !== "1") {
    one.add({
      step: "bridge",
      at: bridge,
      what: `is bridged; no rule sees it (bridge-nf-call-${key} is not 1)`,
    });
    return deliver(one, bridge);
  }
  one.add({
    step: "bridge",
    at: bridge,
    what: "is bridged, and shown to the rules (br_netfilter)",
  });
  if (one.rules("prerouting", { iif: bridge }) === undefined) return "fails";
  if (one.packet.dst !== dst) return route(one, bridge);
  if (one.rules("forward", { iif: bridge, oif: bridge }) === undefined) return "fails";
  if (!masquerade(one, bridge, undefined)) return "fails";
  return deliver(one, bridge);
}

/** It comes in by a link and meets the rules, then the routing table. */
function arrive(one: Walk, iif: string): Ending {
  if (one.rules("prerouting", { iif }) === undefined) return "fails";
  return route(one, iif);
}

function route(one: Walk, iif: string): Ending {
  const { world, packet } = one;
  const answer = world.lookUp(undefined, {
    to: packet.dst,
    from: packet.src,
    iif,
    ...(packet.mark === 0 ? {} : { mark: packet.mark }),
  });
  if (answer.kind === "none") return noWay(one, answer, iif);
  if (answer.kind === "local") {
    one.add({ step: "route", at: "routing table", what: `${packet.dst} is this node itself` });
    if (one.rules("input", { iif }) === undefined) return "fails";
    one.add({ step: "deliver", at: world.node, what: "reaches this node" });
    return "delivered";
  }
  one.add({
    step: "route",
    at: "routing table",
    what: `${packet.dst} leaves by ${answer.dev}${
      answer.via === undefined ? "" : `, to ${answer.via}`
    }`,
    entry: routeText(answer),
  });
  if (one.rules("forward", { iif, oif: answer.dev }) === undefined) return "fails";
  return out(one, answer);
}

/** `EINVAL`, `EXDEV`: dropped for its source. */
const FILTERED = [22, 18];
const EHOSTUNREACH = 113;

function noWay(one: Walk, answer: RouteAnswer & { readonly kind: "none" }, iif: string): Ending {
  const { world, packet } = one;
  const hop = { step: "route", at: "routing table" };
  const key = familyOf(packet.dst) === 4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
  if (answer.errno === EHOSTUNREACH && world.sysctl(key) === "0") {
    const name = key.replaceAll("/", ".");
    return one.fail({ ...hop, what: "this node does not forward packets", entry: `${name} = 0` }, {
      id: "no-forwarding",
      short: "forwarding is off",
      fix: "turn it on, and see which file below /etc/sysctl.d turned it off:",
      command: `sysctl -w ${name}=1`,
    });
  }
  if (FILTERED.includes(answer.errno)) {
    return one.fail({
      ...hop,
      what:
        `a packet of ${packet.src} must not come in by ${iif}: the answer would leave elsewhere`,
      entry: `rp_filter of ${iif}`,
    }, {
      id: "rp-filter",
      short: "dropped by rp_filter",
      fix: `correct the route to ${packet.src}, or make the filter loose on this device:`,
      command: `sysctl -w net.ipv4.conf.${iif}.rp_filter=2`,
    });
  }
  return one.fail({ ...hop, what: `there is no way to ${packet.dst}: ${answer.words}` }, {
    id: "no-route",
    short: "no route",
    fix: "twill's daemon makes the routes to pods of other nodes by itself: see what is missing:",
    command: "twill inspect peers",
  });
}

/** A packet that this node itself sends. */
function fromNode(one: Walk): Ending {
  const { world } = one;
  const ask = (): RouteAnswer => world.lookUp(undefined, { to: one.packet.dst });
  let answer = ask();
  const before = one.packet.dst;
  const result = one.rules("output", answer.kind === "found" ? { oif: answer.dev } : {});
  if (result === undefined) return "fails";
  if (one.packet.dst !== before) answer = ask();
  if (answer.kind === "none") return noWay(one, answer, "lo");
  if (answer.kind === "local") {
    one.add({ step: "deliver", at: world.node, what: "stays on this node" });
    return "delivered";
  }
  one.packet = answer.src === undefined ? one.packet : { ...one.packet, src: answer.src };
  one.add({
    step: "route",
    at: "routing table",
    what: `${one.packet.dst} leaves by ${answer.dev}${
      answer.via === undefined ? "" : `, to ${answer.via}`
    }`,
    entry: routeText(answer),
  });
  return out(one, answer);
}

type Found = RouteAnswer & { readonly kind: "found" };

function out(one: Walk, answer: Found): Ending {
  const { dev } = answer;
  if (!masquerade(one, dev, answer)) return "fails";
  const link = one.world.links.get(dev);
  if (link?.kind === "bridge") return deliver(one, dev);
  return leave(one, answer);
}

/** The last rules. False: the packet ends there. */
function masquerade(one: Walk, oif: string, answer: Found | undefined): boolean {
  const before = one.packet.src;
  const result = one.rules("postrouting", { oif });
  if (result === undefined) return false;
  if (!result.masqueraded) return true;
  const { world } = one;
  const own = [...world.addresses].find(([ip, dev]) =>
    dev === oif && familyOf(ip) === familyOf(before)
  )?.[0];
  // Where the rule names no address it is the one that the link has.
  const src = result.packet.src !== before ? result.packet.src : own ?? answer?.src ?? before;
  one.packet = { ...one.packet, src };
  const rule = result.acted.findLast(({ rule }) => rule.actions.some((a) => a.kind === "snat"));
  one.add({
    step: "masquerade",
    at: rule?.table ?? "postrouting",
    what: `its source ${before} becomes ${src}`,
    ...(rule === undefined ? {} : { entry: ruleText(rule) }),
    maybe: result.maybe,
  });
  return true;
}
