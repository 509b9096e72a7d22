/**
 * The packets that a pod network lives by, with this node's addresses and devices. Pure.
 *
 * @module
 */

import {
  bounds,
  type Cidr,
  contains,
  familyOf,
  type Ip,
  ipFromNumber,
  networkOf,
  parseIp,
} from "../../engine/ip.ts";
import { DEFAULTS, type Overlay } from "../overlay.ts";
import type { Packet } from "./walk.ts";

/** What a packet is judged for. */
export interface Sample {
  readonly packet: Packet;
  /** `inside`: must arrive, and keep its source. `outside`: must leave. `outer`: of the overlay. */
  readonly role: "inside" | "outside" | "outer" | "shown";
}

/** Addresses that stand for the rest of the world: TEST-NET-3 and the documentation prefix. */
const ELSEWHERE = { 4: parseIp("203.0.113.99"), 6: parseIp("2001:db8:ffff::99") } as const;

/** One set for each family of the node. */
export function samples(overlay: Overlay): Sample[] {
  return overlay.subnets.flatMap((inet): Sample[] => {
    const family = familyOf(inet);
    const network = overlay.networks.find((one) => familyOf(one) === family);
    const own = networkOf(inet);
    const pod = nth(own, 77n);
    const far = network === undefined ? undefined : farAway(network, own);
    const bridge = overlay.bridge?.name ?? "cni0";
    const vtep = overlay.vteps.find((one) => one.family === family && !one.foreign);
    const uplink = vtep?.underlay ?? uplinkOf(overlay);
    const between = vtep?.name ?? uplink;
    const inside: Omit<Packet, "name" | "hooks"> = { family };
    const through = ["prerouting", "forward", "postrouting"] as const;
    const list: Sample[] = far === undefined ? [] : [
      {
        role: "inside",
        packet: {
          ...inside,
          name: "a pod to a pod of another node",
          from: pod,
          to: far,
          in: bridge,
          ...device("out", between),
          hooks: through,
        },
      },
      {
        role: "inside",
        packet: {
          ...inside,
          name: "a pod of another node to a pod",
          from: far,
          to: pod,
          ...device("in", between),
          out: bridge,
          hooks: through,
        },
      },
    ];
    list.push({
      role: "outside",
      packet: {
        ...inside,
        name: "a pod to the world outside",
        from: pod,
        to: ELSEWHERE[family],
        in: bridge,
        ...device("out", uplink),
        hooks: through,
      },
    }, {
      role: "shown",
      packet: { ...inside, name: "a pod to anywhere", from: pod, in: bridge, hooks: through },
    }, {
      role: "shown",
      packet: { ...inside, name: "anybody to a pod", to: pod, out: bridge, hooks: through },
    });
    if (vtep !== undefined) {
      const outer = { ...inside, protocol: "udp", port: vtep.port } as const;
      list.push({
        role: "outer",
        packet: {
          ...outer,
          name: `VXLAN from another node (UDP ${vtep.port})`,
          ...(vtep.local === undefined ? {} : { to: vtep.local }),
          ...device("in", uplink),
          toNode: true,
          hooks: ["prerouting", "input"],
        },
      }, {
        role: "outer",
        packet: {
          ...outer,
          name: `VXLAN to another node (UDP ${vtep.port})`,
          ...(vtep.local === undefined ? {} : { from: vtep.local }),
          ...device("out", uplink),
          fromNode: true,
          hooks: ["output", "postrouting"],
        },
      });
    }
    return list;
  });
}

function device<K extends "in" | "out">(
  key: K,
  name: string | undefined,
): { readonly [P in K]?: string } {
  return name === undefined ? {} : { [key]: name } as { readonly [P in K]: string };
}

function uplinkOf({ facts }: Overlay): string | undefined {
  const route = facts.find((fact) => fact.kind === "route" && DEFAULTS.has(fact.dst));
  return route?.kind === "route" ? route.dev : undefined;
}

/** Some address of a network. */
function nth(net: Cidr, n: bigint): Ip {
  const { first, last } = bounds(net);
  return ipFromNumber(familyOf(net), first + n > last ? last : first + n);
}

/** An address of the network that is not this node's: near its end, or its start. */
function farAway(network: Cidr, own: Cidr): Ip | undefined {
  const { first, last } = bounds(network);
  const family = familyOf(network);
  return [last - 77n, first + 77n].filter((n) => n >= first && n <= last)
    .map((n) => ipFromNumber(family, n))
    .find((ip) => !contains(own, ip));
}
