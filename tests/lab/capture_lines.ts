/**
 * What `twill inspect capture -o json` tells.
 *
 * @module
 */

/** One place that a packet passed, as `-o json` tells it. */
export interface HopLine {
  readonly role: string;
  readonly interface: string;
  readonly pod: string | null;
  readonly direction: string;
  readonly afterNanoseconds: number;
  readonly frames: number;
  readonly bytes: number;
  readonly translated: { readonly source: string; readonly destination: string } | null;
  readonly vxlan: Readonly<Record<string, unknown>> | null;
}

/** One packet, as `-o json` tells it. */
export interface PacketLine {
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  readonly summary: string;
  readonly hops: readonly HopLine[];
}

/** Everything that was told about packets as JSON. */
export function packetsIn(log: string): PacketLine[] {
  return log.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

/** `pod out > veth in > …` */
export function wayOf({ hops }: PacketLine): string {
  return hops.map(({ role, direction }) => `${role} ${direction}`).join(" > ");
}

/** From a pod to another node. */
export const OUT = "pod out > veth in > bridge in > vtep out > uplink out";
/** And back. */
export const BACK = "uplink in > vtep in > bridge out > veth out > pod in";

/** Bytes of a TCP stream: up to its first hole, what is there twice counted once; and of all packets. */
export function bytesOf(
  packets: readonly PacketLine[],
): { readonly stream: number; readonly all: number } {
  const segments = packets.map(({ summary }) => {
    const [, flags = "", sequence, length] = /^tcp (\S+) seq (\d+).* len (\d+)/.exec(summary) ?? [];
    return { flags, sequence: Number(sequence), length: Number(length) };
  });
  const first = segments.find(({ flags }) => flags.includes("S"))!.sequence + 1;
  const stream = segments.map(({ sequence, length }) => ({ at: (sequence - first) | 0, length }))
    .sort((a, b) => a.at - b.at)
    .reduce((end, { at, length }) => at <= end ? Math.max(end, at + length) : end, 0);
  return { stream, all: segments.reduce((sum, { length }) => sum + length, 0) };
}
