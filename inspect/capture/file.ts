/**
 * The capture file: frames as they were, on interfaces with their names, and each packet that VXLAN
 * carries once more on an interface of its own, so that any reader shows it without being told the
 * port. Pure: hands out bytes.
 *
 * @module
 */

import type { Sighting } from "../../engine/packet/correlate.ts";
import { innermost } from "../../engine/packet/decode.ts";
import {
  interfaceBlock,
  packetBlock,
  sectionHeader,
  statisticsBlock,
} from "../../engine/packet/pcapng.ts";
import { IANA_VXLAN_PORT, withIanaPort } from "../../engine/packet/vxlan_port.ts";
import { macBytes } from "../../engine/mac.ts";
import type { Clock } from "./clock.ts";
import { labelOf, type Tap } from "./taps.ts";

/** How a file is written. */
export interface FileOptions {
  readonly taps: readonly Tap[];
  readonly clock: Clock;
  /** Program and version, for the file's header. */
  readonly program: string;
  /** Kernel and machine, for the file's header. */
  readonly system: string;
  readonly snapLength: number;
  /** Write VXLAN's outer port as IANA's. */
  readonly iana: boolean;
  /** VXLAN ports of this node. */
  readonly ports: readonly number[];
  /** Takes the bytes. */
  readonly write: (bytes: Uint8Array) => void;
}

/** Counters of one interface at the end of a capture. */
export interface TapCounts {
  readonly received: number;
  readonly lost: number;
}

/** Writes one file. */
export class CaptureFile {
  readonly #options: FileOptions;
  /** Interfaces of packets that were inside others, by interface and VNI. */
  readonly #inner = new Map<string, number>();
  #interfaces = 0;

  /** Writes the header and all interfaces. */
  constructor(options: FileOptions) {
    this.#options = options;
    const { program, system, taps, snapLength, write, iana, ports } = options;
    write(sectionHeader(program, system, comment(iana, ports)));
    for (const tap of taps) {
      this.#describe(labelOf(tap), {
        description: describeTap(tap),
        link: tap.link,
        snapLength,
        ...(tap.pod === undefined ? {} : { comment: `pod ${tap.pod}` }),
        ...(tap.mac === undefined ? {} : { mac: macBytes(tap.mac) }),
      });
    }
  }

  /** Writes a frame, and what it carries. */
  frame({ tap, out, at, packet, length }: Sighting): void {
    const { clock, iana, write } = this.#options;
    const time = clock.since1970(at);
    const bytes = iana ? withIanaPort(packet) : packet.bytes;
    const inner = innermost(packet);
    const vni = vniOf(packet);
    // Described before it is needed: the number must be known.
    const on = vni === undefined ? undefined : this.#innerInterface(tap, vni);
    write(packetBlock({ on: tap, time, bytes, length, out }));
    if (on === undefined) return;
    const rest = packet.bytes.subarray(inner.at);
    write(packetBlock({ on, time, bytes: rest, length: length - inner.at, out }));
  }

  /** Writes what each interface counted. */
  end(at: number, counts: readonly TapCounts[]): void {
    const { clock, write } = this.#options;
    const time = clock.since1970(at);
    for (const [on, { received, lost }] of counts.entries()) {
      write(statisticsBlock({ on, time, received, lost }));
    }
  }

  #innerInterface(tap: number, vni: number): number {
    const key = `${tap} ${vni}`;
    const known = this.#inner.get(key);
    if (known !== undefined) return known;
    const { taps, snapLength } = this.#options;
    const label = labelOf(taps[tap]!);
    const on = this.#describe(`${label} vni ${vni} inner`, {
      description: `what VXLAN ${vni} carries on ${label}`,
      comment: `Not an interface: the packets inside those of ${label}, a second time`,
      link: "ethernet",
      snapLength,
    });
    this.#inner.set(key, on);
    return on;
  }

  #describe(name: string, rest: Omit<Parameters<typeof interfaceBlock>[0], "name">): number {
    this.#options.write(interfaceBlock({ name, ...rest }));
    return this.#interfaces++;
  }
}

function vniOf({ network }: Sighting["packet"]): number | undefined {
  if (network.kind !== "ip" || network.transport.kind !== "udp") return undefined;
  return network.transport.vxlan?.vni;
}

const ROLES = {
  pod: "the pod's own interface",
  veth: "the node's end of the pod's interface",
  bridge: "the bridge of this node's pods",
  vtep: "the overlay: packets before and after VXLAN",
  uplink: "the underlay: packets between nodes",
} as const satisfies Record<Tap["role"], string>;

function describeTap({ role, pod }: Tap): string {
  return pod === undefined ? ROLES[role] : `${ROLES[role]}: ${pod}`;
}

function comment(iana: boolean, ports: readonly number[]): string {
  const list = ports.join(", ");
  if (ports.length === 0) return "twill inspect capture";
  return iana
    ? `UDP destination port ${list} was written as ${IANA_VXLAN_PORT}, so that VXLAN is decoded`
    : `VXLAN uses UDP port ${list}: ${decodeHint(ports)}`;
}

/** What Wireshark and tshark must be told to decode the frames themselves. */
export function decodeHint(ports: readonly number[]): string {
  return ports.map((port) => `-d udp.port==${port},vxlan`).join(" ");
}
