/**
 * The last hops on this node of a packet that leaves it: by a VTEP, with all that it looks up, or by
 * a plain link. Pure.
 *
 * @module
 */

import { addressOf, familyOf, type Ip } from "../ip.ts";
import type { Mac } from "../mac.ts";
import type { RouteAnswer } from "./lookup.ts";
import { BY_ITSELF, nameOf, noWay, outerRules, peerOf } from "./outer.ts";
import { enterTunnel } from "./tunnel_hops.ts";
import type { Walk } from "./walk.ts";
import { routeText } from "./words.ts";
import type { Ending, TraceLink, TracePeer } from "./world.ts";

type Found = RouteAnswer & { readonly kind: "found" };

/** Bytes that the outer packet adds: IP header, UDP 8, VXLAN 8, inner Ethernet 14. */
const OVERHEAD = { 4: 50, 6: 70 } as const;

/** Out of this node, by the link that the route names. */
export function leave(one: Walk, answer: Found): Ending {
  const { world } = one;
  const link = world.links.get(answer.dev);
  if (link === undefined || !link.up) {
    return one.fail({ step: "link", at: answer.dev, what: "the link is down" }, {
      id: "device-down",
      short: "down",
      fix: "set it up:",
      command: `ip link set ${answer.dev} up`,
    });
  }
  const size = one.sender?.mtu;
  if (size !== undefined && size > link.mtu) {
    const what = `the pod may send ${size} bytes, and ${link.name} carries only ${link.mtu}`;
    if (link.kind === "vxlan" || link.tunnel !== undefined) {
      return one.fail({ step: "mtu", at: link.name, what, entry: `mtu ${link.mtu}` }, {
        id: "pod-mtu",
        short: "MTU too large",
        fix:
          "small packets pass, large ones do not: delete the pod, its successor gets the MTU of " +
          "subnet.env; see whether that one is right:",
        command: "twill inspect subnet",
      });
    }
    one.add({ step: "mtu", at: link.name, what: `${what}: the node answers larger ones (ICMP)` });
  }
  if (link.tunnel !== undefined) return enterTunnel(one, answer, link, link.tunnel);
  return link.kind === "vxlan" ? encapsulate(one, answer, link) : plain(one, answer);
}

/** By a plain link: to a node that is routed directly, or out of the cluster. */
function plain(one: Walk, answer: Found): Ending {
  const peer = peerOf(one);
  const hop = answer.via ?? one.packet.dst;
  if (peer?.publicIp !== undefined && answer.via !== undefined && answer.via !== peer.publicIp) {
    return one.fail({
      step: "uplink",
      at: answer.dev,
      what: `${one.packet.dst} belongs to ${
        nameOf(peer, peer.publicIp)
      }, but goes to ${answer.via}`,
      entry: routeText(answer),
    }, {
      id: "no-route",
      short: "no route to that node's pods",
      fix: BY_ITSELF,
      ...routeCommand(one, peer),
    });
  }
  one.add({
    step: "uplink",
    at: answer.dev,
    what: `leaves from ${one.packet.src}, to ${hop}${
      peer === undefined ? ", out of the cluster" : ""
    }`,
    entry: routeText(answer),
  });
  return "leaves";
}

/** The route by which a VTEP would be used. */
function routeCommand({ world }: Walk, { subnet }: TracePeer): { readonly command?: string } {
  const vtep = [...world.links.values()].find(({ kind, name }) =>
    kind === "vxlan" && name.startsWith(familyOf(subnet) === 4 ? "flannel." : "flannel-v6.")
  );
  if (vtep === undefined) return {};
  return {
    command: `ip route replace ${subnet} via ${addressOf(subnet)} dev ${vtep.name} onlink`,
  };
}

function encapsulate(one: Walk, answer: Found, vtep: TraceLink): Ending {
  const { world, packet } = one;
  const peer = peerOf(one);
  const gateway = answer.via ?? packet.dst;
  const mac = world.neighbour(vtep.name, gateway);
  if (mac === undefined) {
    return one.fail({
      step: "neighbour",
      at: vtep.name,
      what: `no permanent neighbour entry says which VTEP ${gateway} is`,
    }, {
      id: "no-neighbour",
      short: "no neighbour entry",
      fix: BY_ITSELF,
      command: `ip neighbour replace ${gateway} lladdr ${
        peer?.mac ?? "MAC-OF-ITS-VTEP"
      } dev ${vtep.name} nud permanent`,
    });
  }
  const wrong = peer?.mac !== undefined && peer.mac !== mac;
  const neighbour = `${gateway} lladdr ${mac} PERMANENT`;
  if (wrong) {
    return one.fail({
      step: "neighbour",
      at: vtep.name,
      what:
        `inner frame for ${mac}, but the VTEP of ${nameOf(peer, peer.publicIp ?? gateway)} is ` +
        `${peer.mac}: it drops what is not for it`,
      entry: neighbour,
    }, {
      id: "wrong-mac",
      short: "wrong MAC address",
      fix: BY_ITSELF,
      command: `ip neighbour replace ${gateway} lladdr ${peer.mac} dev ${vtep.name} nud permanent`,
    });
  }
  one.add({
    step: "neighbour",
    at: vtep.name,
    what: `inner frame from ${vtep.mac ?? "?"} to ${mac}`,
    entry: neighbour,
  });
  const remote = forwarding(one, vtep, mac, peer);
  return remote === undefined ? "fails" : outer(one, vtep, remote, peer);
}

/** The node that the forwarding table names; undefined: the packet ends here. */
function forwarding(
  one: Walk,
  vtep: TraceLink,
  mac: Mac,
  peer: TracePeer | undefined,
): Ip | undefined {
  const [remote, second] = one.world.fdb(vtep.name, mac);
  if (remote === undefined) {
    one.fail({
      step: "fdb",
      at: vtep.name,
      what: `no forwarding entry says which node ${mac} is on`,
    }, {
      id: "no-fdb",
      short: "no FDB entry",
      fix: BY_ITSELF,
      command: `bridge fdb replace ${mac} dev ${vtep.name} dst ${
        peer?.publicIp ?? "ADDRESS-OF-THE-NODE"
      }`,
    });
    return undefined;
  }
  const entry = `${mac} dev ${vtep.name} dst ${remote}`;
  const stray = peer?.publicIp !== undefined && peer.publicIp !== remote;
  if (remote === vtep.vxlan?.local || stray || second !== undefined) {
    one.fail({
      step: "fdb",
      at: vtep.name,
      what: stray
        ? `the forwarding entry leads to ${remote}, but ${
          nameOf(peer, peer.publicIp ?? remote)
        } is meant`
        : second === undefined
        ? `the forwarding entry leads to ${remote}, which is this node`
        : `two forwarding entries, to ${remote} and ${second}`,
      entry,
    }, {
      id: "wrong-fdb",
      short: "wrong FDB entry",
      fix: BY_ITSELF,
      command: `bridge fdb replace ${mac} dev ${vtep.name} dst ${
        peer?.publicIp ?? "ADDRESS-OF-THE-NODE"
      }`,
    });
    return undefined;
  }
  one.add({ step: "fdb", at: vtep.name, what: `that VTEP is at ${remote}`, entry });
  return remote;
}

/** The packet around it, which takes the way of any packet of this node. */
function outer(one: Walk, vtep: TraceLink, remote: Ip, peer: TracePeer | undefined): Ending {
  const { world } = one;
  const { port = 0, vni = 0, local, underlay } = vtep.vxlan ?? {};
  const answer = world.lookUp(undefined, {
    to: remote,
    ...(local === undefined ? {} : { from: local }),
  });
  if (answer.kind !== "found") return noWay(one, underlay ?? vtep.name, remote, answer);
  const link = world.links.get(answer.dev);
  const overhead = OVERHEAD[familyOf(remote)];
  if (link !== undefined && vtep.mtu + overhead > link.mtu) {
    return one.fail({
      step: "mtu",
      at: link.name,
      what: `${vtep.name} takes packets of ${vtep.mtu} bytes, with the outer headers ${
        vtep.mtu + overhead
      }; ${link.name} carries only ${link.mtu}`,
      entry: `${link.name} mtu ${link.mtu} - ${overhead} = ${link.mtu - overhead}`,
    }, {
      id: "vtep-mtu",
      short: "MTU too large",
      breaks: `packets of more than ${
        link.mtu - overhead
      } bytes end here; connections open, then hang`,
      fix: `restart the daemon, which takes the MTU of ${link.name}; by hand:`,
      command: `ip link set ${vtep.name} mtu ${link.mtu - overhead}`,
    });
  }
  const size = one.sender?.mtu ?? vtep.mtu;
  one.outer = { port, remote, src: one.packet.src, dst: one.packet.dst };
  if (
    !outerRules(one, {
      src: local ?? answer.src ?? remote,
      dst: remote,
      protocol: "udp",
      port,
      dev: answer.dev,
    })
  ) {
    return "fails";
  }
  one.add({
    step: "outer",
    at: answer.dev,
    what: `VXLAN network ${vni}: UDP ${local ?? answer.src} -> ${remote} port ${port}, at most ${
      size + overhead
    } bytes`,
    entry: routeText(answer),
  });
  one.add({
    step: "next-node",
    at: nameOf(peer, remote),
    what: peer?.mac === undefined
      ? "what happens there its own tables decide"
      : `its VTEP is ${peer.mac}, as its lease says; what happens there its own tables decide`,
    ...(peer === undefined ? {} : { entry: `lease of ${peer.subnet}` }),
  });
  return "leaves";
}
