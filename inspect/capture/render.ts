/**
 * Packets as lines for people and as JSON for programs. Pure.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import type { Hop, Journey } from "../../engine/packet/correlate.ts";
import {
  type Ends,
  endsOf,
  endText,
  macsOf,
  protocolOf,
  summaryOf,
} from "../../engine/packet/describe.ts";
import { SCHEMA } from "../report.ts";
import type { Clock } from "./clock.ts";
import { labelOf, type Tap } from "./taps.ts";

/** What the renderers know of the capture. */
export interface View {
  readonly taps: readonly Tap[];
  readonly clock: Clock;
  /** Names of this node's pods and of other nodes, by address. */
  readonly names: ReadonlyMap<Ip, string>;
}

/** What VXLAN wraps a packet in. */
interface Outer {
  readonly vni: number;
  readonly port: number;
  readonly source: Ip;
  readonly destination: Ip;
}

function outerOf({ first: { packet } }: Hop): Outer | undefined {
  const { network } = packet;
  const ends = endsOf(packet);
  if (ends === undefined || network.kind !== "ip" || network.transport.kind !== "udp") {
    return undefined;
  }
  const { vxlan, destinationPort } = network.transport;
  if (vxlan === undefined) return undefined;
  const { source, destination } = ends;
  return { vni: vxlan.vni, port: destinationPort, source, destination };
}

/** One packet, one line. */
export function lineOf(journey: Journey, view: View): string {
  const hops = journey.hops;
  const [first] = hops;
  if (first === undefined) return "";
  const ends = endsOf(first.inner, journey.ports);
  const way = ends === undefined ? macText(first) : `${endsText(ends, view)}`;
  const path = hops.map((hop, i) => hopText(hop, hops[i - 1], first, journey, view)).join(" > ");
  return `${view.clock.timeOfDay(first.first.at)} ${way} ${wholeSummary(hops)} | ${path}`;
}

function macText({ inner }: Hop): string {
  const macs = macsOf(inner);
  return macs === undefined ? "?" : `${macs.source} > ${macs.destination}`;
}

function endsText({ source, destination, sourcePort, destinationPort }: Ends, view: View): string {
  return `${endText(source, sourcePort)}${nameText(source, view)} > ${
    endText(destination, destinationPort)
  }${nameText(destination, view)}`;
}

function nameText(ip: Ip, { names }: View): string {
  const name = names.get(ip);
  return name === undefined ? "" : `(${name})`;
}

function outerText({ vni, source, destination }: Outer, view: View): string {
  return `vni ${vni} ${endsText({ source, destination }, view)}`;
}

/** What the packet is where it was seen largest: not yet cut up, or put together again. */
function wholeSummary(hops: readonly Hop[]): string {
  const size = ({ inner: { network } }: Hop): number => network.kind === "ip" ? network.length : 0;
  const whole = hops.reduce((most, hop) => size(hop) > size(most) ? hop : most);
  return summaryOf(whole.inner);
}

/** `flannel.1 +14us`, and what is different there than at the hop before. */
function hopText(
  hop: Hop,
  before: Hop | undefined,
  first: Hop,
  journey: Journey,
  view: View,
): string {
  const tap = view.taps[hop.first.tap]!;
  const outer = outerOf(hop);
  const translated = before && translation(hop, before, journey);
  const since = Math.round((hop.first.at - first.first.at) / 1000);
  return [
    labelOf(tap),
    hop === first ? "" : `+${since}us`,
    hop.count > 1 ? `x${hop.count}` : "",
    translated === undefined ? "" : `[nat ${plain(translated)}]`,
    outer === undefined ? "" : `[${outerText(outer, view)}]`,
  ].filter((part) => part !== "").join(" ");
}

function plain({ source, destination, sourcePort, destinationPort }: Ends): string {
  return `${endText(source, sourcePort)} > ${endText(destination, destinationPort)}`;
}

/** The ends as they are at a hop, where they differ from those at another one. */
function translation(hop: Hop, other: Hop, { ports }: Journey): Ends | undefined {
  const ends = endsOf(hop.inner, ports);
  const before = endsOf(other.inner, ports);
  if (ends === undefined || before === undefined) return undefined;
  return plain(ends) === plain(before) ? undefined : ends;
}

/** One packet as a block of lines: what it is, then each place it was seen at. */
export function blockOf(journey: Journey, view: View): string {
  const hops = journey.hops;
  const [first] = hops;
  if (first === undefined) return "";
  const ends = endsOf(first.inner, journey.ports);
  const way = ends === undefined ? macText(first) : endsText(ends, view);
  const width = Math.max(...hops.map(({ first: { tap } }) => labelOf(view.taps[tap]!).length));
  const lines = hops.map((hop) => {
    const { tap, out, at, openChecksum } = hop.first;
    const since = ((at - first.first.at) / 1000).toFixed(1);
    const outer = outerOf(hop);
    const macs = macsOf(hop.inner);
    const translated = translation(hop, first, journey);
    const { network } = hop.inner;
    return [
      `  ${labelOf(view.taps[tap]!).padEnd(width)}`,
      out ? "out" : "in ",
      `${since.padStart(9)} us`,
      `${hop.length} bytes`,
      hop.count > 1 ? `in ${hop.count} frames` : "",
      network.kind === "ip" ? `ttl ${network.ttl}` : "",
      macs === undefined ? "" : `${macs.source} > ${macs.destination}`,
      translated === undefined ? "" : `nat ${plain(translated)}`,
      outer === undefined ? "" : `in vxlan port ${outer.port} ${outerText(outer, view)}`,
      openChecksum ? "checksum left to the device" : "",
    ].filter((part) => part !== "").join("  ");
  });
  const time = view.clock.timeOfDay(first.first.at);
  return [`${time} ${way} ${wholeSummary(hops)}`, ...lines].join("\n");
}

/** One packet as one JSON document; the form is in docs/schema. */
export function documentOf(journey: Journey, view: View): Record<string, unknown> {
  const hops = journey.hops;
  const first = hops[0]!;
  const { network } = first.inner;
  const ip = network.kind === "ip" ? network : undefined;
  return {
    schema: SCHEMA,
    kind: "packet",
    time: view.clock.iso(first.first.at),
    protocol: protocolOf(first.inner),
    ...endsJson(endsOf(first.inner, journey.ports), view),
    summary: wholeSummary(hops),
    bytes: first.length,
    ipId: ip?.id ?? null,
    fragment: ip?.fragment === true ? { offset: ip.offset, more: ip.more } : null,
    hops: hops.map((hop) => hopJson(hop, first, journey, view)),
  };
}

function endsJson(ends: Ends | undefined, view: View): Record<string, unknown> {
  return {
    source: ends?.source ?? null,
    sourcePort: ends?.sourcePort ?? null,
    sourceName: (ends && view.names.get(ends.source)) ?? null,
    destination: ends?.destination ?? null,
    destinationPort: ends?.destinationPort ?? null,
    destinationName: (ends && view.names.get(ends.destination)) ?? null,
  };
}

function hopJson(hop: Hop, first: Hop, journey: Journey, view: View): Record<string, unknown> {
  const { tap, out, at, openChecksum } = hop.first;
  const { role, name, pod } = view.taps[tap]!;
  const translated = translation(hop, first, journey);
  return {
    role,
    interface: name,
    pod: pod ?? null,
    direction: out ? "out" : "in",
    afterNanoseconds: at - first.first.at,
    frames: hop.count,
    bytes: hop.length,
    openChecksum,
    translated: translated === undefined ? null : endsJson(translated, view),
    vxlan: outerOf(hop) ?? null,
  };
}
