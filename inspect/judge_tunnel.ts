/**
 * What is wrong with a peer of a WireGuard link: it has one table of the kernel's and one of the
 * device's own, and only the device tells whether anybody answers. Pure.
 *
 * @module
 */

import { DAEMON, type Finding } from "./finding.ts";
import type { Peer } from "./join_peers.ts";

/** A finding without the peer that it is about. */
type Words = Omit<Finding, "subject">;

/** Judges one peer. */
export function judgeWireguard(peer: Peer): Words[] {
  const { wireguard, route, subnet, device } = peer;
  if (wireguard === undefined) {
    return [{
      id: "no-wireguard-peer",
      short: "no WireGuard peer",
      what: `the route to ${subnet} leads over ${device}, none of whose peers may send from there`,
      breaks: "the device refuses packets to that node's pods (required key not available)",
      fix: DAEMON,
      command: `wg show ${device} allowed-ips`,
    }];
  }
  if (subnet === undefined) {
    return [{
      id: "idle-wireguard-peer",
      short: "peer without networks",
      what: `the peer ${wireguard.publicKey} of ${device} has no network`,
      breaks: "nothing by itself: no packet is for it; another peer may have taken its network",
      fix: DAEMON,
      command: `wg show ${device} allowed-ips`,
    }];
  }
  const silent = silence(peer);
  return [
    ...(route !== undefined ? [] : [{
      id: "no-route",
      short: "no route",
      what: `no route leads ${subnet} to ${device}, where its peer ${wireguard.publicKey} is`,
      breaks: "packets to that node's pods take the default route, out of the cluster",
      fix: DAEMON,
      command: `ip route add ${subnet} dev ${device}`,
    }]),
    ...(silent === undefined ? [] : [{
      id: "no-handshake",
      short: "no handshake",
      what: silent,
      breaks: "no packet reaches that node's pods, or comes from them",
      fix: `see that UDP port ${wireguard.port ?? "of WireGuard"} of ${
        wireguard.remote ?? "that node"
      } is open both ways, and that the other node has this one's key:`,
      command: "wg show all   # on both nodes: the public key of one is a peer of the other",
    }]),
  ];
}

/**
 * Why nobody seems to answer; undefined: somebody does, or nothing was sent yet. A quiet peer is
 * well: keys are agreed on when there are packets.
 */
function silence({ wireguard }: Peer): string | undefined {
  const { traffic, remote, port, keepalive = 0 } = wireguard ?? {};
  if (traffic === undefined) return undefined;
  const where = remote === undefined ? "it" : `${remote} port ${port}`;
  if (traffic.handshake === undefined) {
    return traffic.sent === 0
      ? undefined
      : `${where} has never answered: ${traffic.sent} bytes were sent, and no handshake came about`;
  }
  // With a keepalive there are packets always, and a new key every two minutes.
  if (keepalive === 0 || traffic.alive) return undefined;
  return `no handshake with ${where} for more than three minutes, though packets are sent every ` +
    `${keepalive} s`;
}
