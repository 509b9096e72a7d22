/**
 * What the packets of `check --probe` tell. Pure.
 *
 * @module
 */

import type { Finding } from "../finding.ts";
import type { PeerProbe } from "./probe.ts";
import { judged, passed, together, type Verdict } from "./verdict.ts";

/** Judges the way to each peer. */
export function judgeProbes(probes: readonly PeerProbe[]): Verdict {
  if (probes.length === 0) return passed("overlay", "no other node is known: nothing to try");
  const answered = probes.filter(({ small }) => small === "answered");
  const sizes = [...new Set(answered.map(({ mtu }) => mtu))].join(" and ");
  const tcp = answered.filter((one) => one.tcp !== undefined);
  return together(
    judged(
      "overlay",
      `${answered.length} of ${probes.length} peers answer echo requests over the overlay`,
      probes.flatMap(silence),
    ),
    judged("path-mtu", `packets of ${sizes} bytes pass whole`, answered.flatMap(narrowness)),
    judged(
      "checksums",
      `TCP comes back from ${tcp.length} peers over the overlay`,
      tcp.flatMap(corruption),
    ),
  );
}

const LOST = "no packet of a pod here reaches a pod of that node";

function silence(probe: PeerProbe): Finding[] {
  const { name, overlay, node, vtep, small, direct, confirmation } = probe;
  if (small === "answered") return [];
  const tried = `${overlay} does not answer echo requests over ${vtep?.name ?? "its route"}`;
  const nodeTold = direct === "answered" ? `; the node itself, ${node}, does` : "";
  const port = `UDP port ${vtep?.port}`;
  switch (confirmation?.kind) {
    case "arrived":
      return [{
        id: "vxlan-blocked",
        subject: name,
        short: "UDP arrives, VXLAN does not",
        what:
          `${tried}; but a datagram to ${port} of ${node} arrives at its ${confirmation.dev}: ` +
          "UDP arrives, VXLAN does not",
        breaks: LOST,
        fix:
          `look on that node, and for the way back here: a firewall that drops ${port} as input, ` +
          "another VNI, MAC address or address of its VTEP; there:",
        command: "twill inspect check --probe",
      }];
    case "lost":
      return [{
        id: "udp-blocked",
        subject: name,
        short: "UDP blocked",
        what: `${tried}${nodeTold}; its daemon answers, but saw no datagram to ${port} come in: ` +
          "UDP blocked",
        breaks: LOST,
        fix:
          `between the two nodes, and in the output of this one, something drops ${port}: open ` +
          "it both ways, in security groups of a cloud too; the rules here:",
        command: `nft list ruleset | grep -n ${vtep?.port}`,
      }];
    case "no-daemon":
    case undefined:
      return [
        direct === "answered" || confirmation === undefined
          ? {
            id: "overlay-silent",
            subject: name,
            short: "no answer",
            what:
              `${tried}${nodeTold}; cannot tell why: no daemon of twill answers there (peer is ` +
              "flannel, or --health-port is another)",
            breaks: LOST,
            fix: vtep === undefined
              ? "see whether that node is up, and whether routers between pass packets of pods"
              : `open ${port} both ways between the nodes; on that node, see whether packets come in:`,
            ...(vtep === undefined
              ? {}
              : { command: `tcpdump -ni ${vtep.underlay ?? "any"} udp port ${vtep.port}` }),
          }
          : {
            id: "node-silent",
            subject: name,
            short: "node does not answer",
            what: `${tried}; neither does the node itself, ${node}, by ICMP or on its health port`,
            breaks: LOST,
            fix:
              "see whether that node is up and connected; if it is gone for good, its lease ends " +
              "by itself, or delete it in the store",
            command: `ping ${node}`,
          },
      ];
  }
}

function narrowness({ name, overlay, large, largest, mtu, vtep }: PeerProbe): Finding[] {
  if (large === "answered") return [];
  const room = largest === undefined ? "no packet of 576 bytes" : `at most ${largest} bytes`;
  return [{
    id: "path-mtu",
    subject: name,
    short: largest === undefined ? "large packets are lost" : `only ${largest} bytes pass`,
    what: `small packets to ${overlay} pass, those of ${mtu} bytes do not: ${room}`,
    breaks: "connections open, then hang as soon as much is sent",
    fix: vtep === undefined || largest === undefined
      ? "something between the nodes has a smaller MTU than their links: correct it there"
      : `something between the nodes carries only ${largest + overhead(vtep.family)} bytes: ` +
        `correct it there; or give the overlay less, on all nodes, by Backend.MTU ` +
        `${largest + overhead(vtep.family)} of the network configuration; here and now:`,
    ...(vtep === undefined || largest === undefined
      ? {}
      : { command: `ip link set ${vtep.name} mtu ${largest}` }),
  }];
}

function overhead(family: 4 | 6): number {
  return family === 4 ? 50 : 70;
}

function corruption({ name, overlay, tcp, vtep }: PeerProbe): Finding[] {
  if (tcp !== false || vtep === undefined) return [];
  return [{
    id: "checksum-offload",
    subject: name,
    short: "TCP gets no answer",
    what:
      `${overlay} answers echo requests, but no attempt to connect by TCP, not even with a refusal`,
    breaks: "no connection between pods of the two nodes opens, though ping works",
    fix:
      "where the node's interface computes checksums of encapsulated packets wrongly, switch that " +
      "off, here and there; if that does not help, a firewall drops TCP:",
    command: `ethtool -K ${vtep.name} tx-checksum-ip-generic off`,
  }];
}
