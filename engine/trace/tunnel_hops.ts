/**
 * The last hops of a packet that leaves by wireguard, ipip or udp: the device picks the other node
 * by an entry of its own, by the route's gateway, or through the daemon. Pure.
 *
 * @module
 */

import type { WireguardPeerFact } from "../fact.ts";
import { contains, familyOf, type Ip, lengthOf } from "../ip.ts";
import { endpointText, type Tunnel, TUNNEL_HEADERS, wrapping } from "../tunnel.ts";
import type { RouteAnswer } from "./lookup.ts";
import { BY_ITSELF, nameOf, noWay, outerRules, peerOf } from "./outer.ts";
import type { Walk } from "./walk.ts";
import { routeText } from "./words.ts";
import type { Ending, TraceLink } from "./world.ts";

type Found = RouteAnswer & { readonly kind: "found" };

/** Where the outer packet goes. */
interface Target {
  readonly remote: Ip;
  /** Of UDP. */
  readonly port?: number;
}

/** Into the device, and out of the node. */
export function enterTunnel(one: Walk, answer: Found, link: TraceLink, tunnel: Tunnel): Ending {
  const target = targetOf(one, answer, tunnel);
  return target === "fails" || target === "leaves" ? target : outer(one, link, tunnel, target);
}

function targetOf(one: Walk, answer: Found, tunnel: Tunnel): Target | "fails" | "leaves" {
  switch (tunnel.kind) {
    case "wireguard":
      return byPeer(one, tunnel);
    case "ipip":
      return byGateway(one, answer, tunnel);
    case "udp":
      return byDaemon(one, tunnel);
  }
}

/** WireGuard sends to the peer that has the longest network with the destination. */
function byPeer(one: Walk, { name }: Tunnel): Target | "fails" | "leaves" {
  const { world, packet } = one;
  const lease = peerOf(one);
  if (typeof world.wireguard === "string") {
    one.add({ step: "wireguard", at: name, what: `its peers are not known: ${world.wireguard}` });
    return "leaves";
  }
  const length = ({ allowed }: WireguardPeerFact): number =>
    Math.max(-1, ...allowed.filter((net) => contains(net, packet.dst)).map(lengthOf));
  const [peer] = world.wireguard
    .filter((fact) => fact.dev === name && length(fact) >= 0)
    .sort((a, b) => length(b) - length(a));
  if (peer === undefined) {
    one.fail({
      step: "wireguard",
      at: name,
      what: `no peer of ${name} has a network with ${packet.dst}: the device refuses the packet`,
    }, {
      id: "no-wireguard-peer",
      short: "no WireGuard peer",
      fix: BY_ITSELF,
      command: `wg show ${name} allowed-ips`,
    });
    return "fails";
  }
  const { remote, port, publicKey, allowed, traffic } = peer;
  const entry = `peer ${publicKey} allowed ips ${allowed.join(", ")}`;
  if (remote === undefined || port === undefined) {
    one.fail({
      step: "wireguard",
      at: name,
      what: "its peer has no endpoint: nobody knows where to send the packet",
      entry,
    }, {
      id: "no-endpoint",
      short: "no endpoint",
      fix: BY_ITSELF,
      command: `wg set ${name} peer ${publicKey} endpoint ADDRESS-OF-THE-NODE:51820`,
    });
    return "fails";
  }
  const handshake = traffic?.handshake === undefined
    ? "; there was no handshake yet"
    : traffic.alive
    ? ""
    : "; the last handshake is older than three minutes, a new one comes first";
  one.add({
    step: "wireguard",
    at: name,
    what: `encrypted for ${nameOf(lease, remote)}, at ${endpointText(remote, port)}${handshake}`,
    entry,
  });
  return { remote, port };
}

/** ipip sends to the route's gateway. */
function byGateway(one: Walk, answer: Found, { name }: Tunnel): Target | "fails" {
  const lease = peerOf(one);
  const remote = answer.via;
  const wrong = remote !== undefined && lease?.publicIp !== undefined && lease.publicIp !== remote;
  if (remote !== undefined && !wrong) {
    one.add({
      step: "gateway",
      at: name,
      what: `the gateway ${remote} is the other end: ${nameOf(lease, remote)}`,
      entry: routeText(answer),
    });
    return { remote };
  }
  one.fail({
    step: "gateway",
    at: name,
    what: remote === undefined
      ? "the route names no gateway, and the device has no other end"
      : `the gateway is ${remote}, but ${nameOf(lease, lease?.publicIp ?? remote)} is meant`,
    entry: routeText(answer),
  }, {
    id: "wrong-gateway",
    short: "wrong gateway",
    fix: BY_ITSELF,
    command: `ip route replace ${lease?.subnet ?? one.packet.dst} via ${
      lease?.publicIp ?? "ADDRESS-OF-THE-NODE"
    } dev ${name} onlink`,
  });
  return "fails";
}

/** udp hands packets to the daemon, which knows the leases. */
function byDaemon(one: Walk, { name }: Tunnel): Target | "fails" | "leaves" {
  const lease = peerOf(one);
  if (one.world.peers.length === 0) {
    one.add({ step: "relay", at: name, what: "the daemon sends it on; its leases are not known" });
    return "leaves";
  }
  if (lease?.publicIp === undefined) {
    one.fail({
      step: "relay",
      at: name,
      what: `the daemon knows no lease with ${one.packet.dst}: it answers "network unreachable"`,
    }, {
      id: "no-lease",
      short: "no lease",
      fix: "see which node has that address, and whether its daemon runs:",
      command: "twill inspect leases",
    });
    return "fails";
  }
  const port = one.world.udpPort;
  one.add({
    step: "relay",
    at: name,
    what: `the daemon sends it to ${nameOf(lease, lease.publicIp)}`,
    entry: `lease of ${lease.subnet}`,
  });
  return { remote: lease.publicIp, ...(port === undefined ? {} : { port }) };
}

function outer(one: Walk, link: TraceLink, tunnel: Tunnel, { remote, port }: Target): Ending {
  const { world } = one;
  const { local, kind, name } = tunnel;
  const answer = world.lookUp(undefined, {
    to: remote,
    ...(local === undefined ? {} : { from: local }),
  });
  if (answer.kind !== "found") return noWay(one, name, remote, answer);
  const src = local ?? answer.src ?? remote;
  const below = world.links.get(answer.dev);
  // flannel counts WireGuard's headers for IPv6 always; over IPv4 they are 20 less.
  const overhead = TUNNEL_HEADERS[kind].bytes -
    (kind === "wireguard" && familyOf(remote) === 4 ? 20 : 0);
  if (below !== undefined && link.mtu + overhead > below.mtu) {
    return one.fail({
      step: "mtu",
      at: below.name,
      what: `${name} takes packets of ${link.mtu} bytes, with the outer headers ${
        link.mtu + overhead
      }; ${below.name} carries only ${below.mtu}`,
      entry: `${below.name} mtu ${below.mtu} - ${overhead} = ${below.mtu - overhead}`,
    }, {
      id: "tunnel-mtu",
      short: "MTU too large",
      breaks: `packets of more than ${below.mtu - overhead} bytes end here, or go in pieces`,
      fix: `restart the daemon, which takes the MTU of ${below.name}; by hand:`,
      command: `ip link set ${name} mtu ${below.mtu - overhead}`,
    });
  }
  const protocol = kind === "ipip" ? "ipip" : "udp";
  const target = { src, dst: remote, protocol, dev: answer.dev } as const;
  if (!outerRules(one, port === undefined ? target : { ...target, port })) return "fails";
  const size = (one.sender?.mtu ?? link.mtu) + overhead;
  one.add({
    step: "outer",
    at: answer.dev,
    what: `${wrapping(tunnel)}: ${local ?? answer.src ?? "this node"} -> ${remote}${
      port === undefined ? "" : ` port ${port}`
    }, at most ${size} bytes`,
    entry: routeText(answer),
  });
  const lease = peerOf(one);
  one.add({
    step: "next-node",
    at: nameOf(lease, remote),
    what: "what happens there its own tables decide",
    ...(lease === undefined ? {} : { entry: `lease of ${lease.subnet}` }),
  });
  return "leaves";
}
