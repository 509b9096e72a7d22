/**
 * The lines of `status`, from the node's kernel: subnet, backend, MTU, devices, peers, rules. Pure.
 *
 * @module
 */

import { familyOf, networkOf } from "../../engine/ip.ts";
import { judgeRules } from "../check/judge_rules.ts";
import type { Finding } from "../finding.ts";
import { joinPeers } from "../join_peers.ts";
import { judgeDevices } from "../judge_devices.ts";
import { judgePeers, nameOfPeer } from "../judge_peers.ts";
import { judgeSubnet } from "../judge_subnet.ts";
import { judgeWanted, type KnownPeer, withoutLeases } from "../judge_wanted.ts";
import { addressesOf, DEFAULTS, linkOf, OVERHEAD, type Overlay, type Vtep } from "../overlay.ts";
import { TUNNEL_HEADERS, wrapping } from "../../engine/tunnel.ts";
import { compareWanted } from "../wanted.ts";
import { daemonRows } from "./judge_daemon.ts";
import { info, row, type StatusRow, type StatusView, unknown } from "./view.ts";

/** All lines, in the order of the screen. */
export function statusRows(view: StatusView): StatusRow[] {
  const { overlay } = view;
  const devices = judgeDevices(overlay);
  const subnet = judgeSubnet(overlay).findings.filter((one) => !has(devices, one));
  const [mtu, others] = divide(subnet, ({ id }) => id.includes("mtu"));
  const daemon = daemonRows(view);
  return [
    info("node", nodeWords(view)),
    daemon.daemon,
    row("subnet", subnetWords(overlay), others),
    info("backend", backendWords(view)),
    mtuRow(view, mtu),
    ...deviceRows(overlay, devices),
    peersRow(view, devices),
    daemon.store,
    rulesRow(view),
    ...daemon.rest,
  ];
}

function has(findings: readonly Finding[], one: Finding): boolean {
  return findings.some(({ id, subject }) => id === one.id && subject === one.subject);
}

function divide<T>(items: readonly T[], first: (item: T) => boolean): [T[], T[]] {
  return [items.filter(first), items.filter((item) => !first(item))];
}

/** The link that carries the packets between nodes. */
function uplinkOf({ overlay, known }: StatusView): string | undefined {
  const told = known.daemon?.uplink?.name ??
    overlay.vteps.find(({ foreign }) => !foreign)?.underlay;
  if (told !== undefined) return told;
  const route = overlay.facts.find((fact) => fact.kind === "route" && DEFAULTS.has(fact.dst));
  return route?.kind === "route" ? route.dev : undefined;
}

function nodeWords(view: StatusView): string {
  const { overlay, known } = view;
  const own = known.leases?.own;
  const uplink = uplinkOf(view);
  const addresses = uplink === undefined
    ? []
    : ([4, 6] as const).flatMap((family) => addressesOf(overlay.facts, uplink, family));
  const published = [own?.publicIp, own?.publicIp6].filter((ip) => ip !== undefined);
  return [
    own?.node ?? "name unknown",
    ...(published.length === 0 ? [] : [`known to others as ${published.join(", ")}`]),
    ...(uplink === undefined ? [] : [`uplink ${uplink} ${addresses.join(" ")}`.trim()]),
  ].join("; ");
}

function subnetWords({ file, subnets, networks }: Overlay): string {
  if (file.kind !== "read") return `no ${file.path}`;
  return subnets.map((subnet) => {
    const network = networks.find((one) => familyOf(one) === familyOf(subnet));
    return `${networkOf(subnet)}${network === undefined ? "" : ` of ${network}`}`;
  }).join("; ") || "none";
}

function backendWords({ overlay, known }: StatusView): string {
  const type = known.leases?.conf.backend.type;
  const own = overlay.vteps.filter(({ foreign }) => !foreign);
  const [vtep] = own;
  if (vtep !== undefined) {
    return `${type ?? "vxlan"}, VNI ${vtep.vni}, UDP port ${vtep.port}` +
      (vtep.underlay === undefined ? "" : `, over ${vtep.underlay}`);
  }
  const [tunnel] = overlay.tunnels;
  if (tunnel !== undefined) return `${type ?? tunnel.kind}: ${wrapping(tunnel)}`;
  return type ?? "unknown: no overlay device, and nobody to ask";
}

const HEADERS = { 4: "IPv4 20", 6: "IPv6 40" } as const;

/** The sum that users do on paper, with this node's numbers. */
function mtuRow(view: StatusView, findings: readonly Finding[]): StatusRow {
  const { overlay } = view;
  const uplink = uplinkOf(view);
  const pods = overlay.file.kind === "read" ? overlay.file.env.mtu : undefined;
  const sums = [
    ...overlay.vteps.filter(({ foreign }) => !foreign).map((vtep) =>
      sum(overlay, vtep, {
        bytes: OVERHEAD[vtep.family],
        text: `${HEADERS[vtep.family]} + UDP 8 + VXLAN 8 + Ethernet 14`,
      })
    ),
    ...overlay.tunnels.map(({ name, kind, mtu }) =>
      sum(overlay, {
        name,
        ...(mtu === undefined ? {} : { mtu }),
        ...(uplink === undefined ? {} : { underlay: uplink }),
      }, TUNNEL_HEADERS[kind])
    ),
  ];
  const parts = [...sums, ...(pods === undefined ? [] : [`pods ${pods}`])];
  if (parts.length === 0) return unknown("mtu", "no overlay device, and no subnet file");
  return row("mtu", parts.join("; "), findings);
}

function sum(
  { facts }: Overlay,
  { name, underlay, mtu }: Pick<Vtep, "name" | "underlay" | "mtu">,
  headers: { readonly bytes: number; readonly text: string },
): string {
  const below = underlay === undefined ? undefined : linkOf(facts, underlay)?.mtu;
  const is = `${name} ${mtu ?? "unknown"}`;
  if (below === undefined) return is;
  return `${underlay} ${below} - ${headers.bytes} (${headers.text}) = ${
    below - headers.bytes
  }; ${is}`;
}

function deviceRows(overlay: Overlay, devices: readonly Finding[]): StatusRow[] {
  const { facts, bridge, vteps, tunnels } = overlay;
  const seen = new Set([...vteps, ...tunnels].map(({ name }) => name));
  const ofVteps = vteps.map(({ name, up, mac, local, foreign }) =>
    row(
      "device",
      [
        `${name} ${up ? "up" : "down"}`,
        ...addressesOf(facts, name, name.startsWith("flannel-v6") ? 6 : 4),
        ...(mac === undefined ? [] : [mac]),
        ...(local === undefined ? [] : [`from ${local}`]),
        ...(foreign ? ["of another network"] : []),
      ].join(", "),
      devices.filter(({ subject }) => subject === name),
    )
  );
  const ofTunnels = tunnels.map(({ name, up, local, set }) =>
    row(
      "device",
      [
        `${name} ${up ? "up" : "down"}`,
        ...([4, 6] as const).flatMap((family) => addressesOf(facts, name, family)),
        ...(local === undefined ? [] : [`from ${local}`]),
        ...(set === undefined ? [] : [`UDP port ${set.port}`, `public key ${set.publicKey}`]),
      ].join(", "),
      devices.filter(({ subject }) => subject === name),
    )
  );
  const rows = [...ofVteps, ...ofTunnels];
  const missing = devices.filter(({ subject }) => !seen.has(subject));
  if (missing.length > 0) rows.push(row("device", "a VTEP is missing", missing));
  if (bridge === undefined) return [...rows, info("device", "no bridge yet: no pod has come")];
  const ports = facts.filter((fact) => fact.kind === "port" && fact.bridge === bridge.name).length;
  const up = facts.some((fact) => fact.kind === "up" && fact.dev === bridge.name && fact.up);
  const inets = ([4, 6] as const).flatMap((family) => addressesOf(facts, bridge.name, family));
  const pods = ports === 1 ? "1 pod" : `${ports} pods`;
  return [
    ...rows,
    info("device", [`${bridge.name} ${up ? "up" : "down"}`, ...inets, pods].join(", ")),
  ];
}

function knownPeers({ overlay, known }: StatusView, devices: readonly Finding[]): {
  readonly peers: readonly KnownPeer[];
  readonly compared: boolean;
} {
  const judged = judgePeers(overlay, joinPeers(overlay), devices);
  const wanted = known.leases && compareWanted(overlay, known.leases, known.daemon?.uplink?.name);
  return known.leases === undefined || typeof wanted !== "object"
    ? { peers: withoutLeases(judged), compared: false }
    : { peers: judgeWanted(judged, wanted, known.leases.from, devices), compared: true };
}

function peersRow(view: StatusView, devices: readonly Finding[]): StatusRow {
  const { peers, compared } = knownPeers(view, devices);
  const findings = [...new Set(peers.flatMap((peer) => peer.findings))]
    .filter((one) => !has(devices, one));
  // What is left of nodes without a lease is a problem, but no subnet to be reached.
  const wanted = compared ? peers.filter(({ lease }) => lease !== undefined) : peers;
  const bad = wanted.filter((peer) => peer.findings.length > 0);
  const names = bad.slice(0, 3).map(({ peer, lease }) => lease?.lease.node ?? nameOfPeer(peer));
  const broken = bad.length === 0
    ? ""
    : `: not ${names.join(", ")}${bad.length > 3 ? ` and ${bad.length - 3} more` : ""}`;
  const judged = compared ? "as their leases say" : "by the kernel's tables alone";
  const subnets = `${
    wanted.length - bad.length
  } of ${wanted.length} subnets of other nodes reached`;
  return row("peers", `${subnets}, ${judged}${broken}${handshakes(peers)}`, findings);
}

/** With whom a WireGuard link has keys: the tables alone do not tell that anybody answers. */
function handshakes(peers: readonly KnownPeer[]): string {
  const all = peers.flatMap(({ peer, lease }) => peer.wireguard ? [{ ...peer, lease }] : []);
  const without = all.filter(({ wireguard }) => wireguard?.traffic?.handshake === undefined);
  if (all.length === 0) return "";
  if (without.length === 0) return "; handshakes with all of them";
  const names = without.slice(0, 3).map((peer) => peer.lease?.lease.node ?? nameOfPeer(peer));
  const more = without.length > 3 ? ` and ${without.length - 3} more` : "";
  return `; no handshake yet with ${names.join(", ")}${more}`;
}

function rulesRow({ overlay, known, rules }: StatusView): StatusRow {
  const { rows: [found], findings } = judgeRules({ overlay, known, rules, installed: true });
  if (found === undefined) {
    return unknown("rules", "without a subnet nobody knows which there should be");
  }
  return { name: "rules", status: found.status, detail: found.detail, findings };
}
