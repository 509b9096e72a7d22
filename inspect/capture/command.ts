/**
 * `twill inspect capture`: its flags and its help.
 *
 * @module
 */

import { type Cidr, hostPrefix, parseCidr, parseIp } from "../../engine/ip.ts";
import { type ProtocolName, PROTOCOLS } from "../../engine/packet/filter.ts";
import { command, type InspectCommand } from "../command.ts";
import { commonFlags, describe, type PlaceFlags } from "../flags.ts";
import { type PodPlaces, podPlaces } from "../pods/pods.ts";

/** Forms of output: a stream has no single document. */
export const CAPTURE_OUTPUTS = ["table", "wide", "json"] as const;

/** What the command is told. */
export interface CaptureFlags extends PlaceFlags, PodPlaces {
  readonly output: typeof CAPTURE_OUTPUTS[number];
  readonly pod?: readonly string[];
  readonly peer?: readonly string[];
  readonly host?: readonly Cidr[];
  readonly port?: readonly number[];
  readonly proto?: readonly ProtocolName[];
  /** Packets. */
  readonly count?: number;
  /** Milliseconds. */
  readonly duration?: number;
  /** A path, or `-` for stdout. */
  readonly write?: string;
  readonly "as-4789": boolean;
  /** Bytes of each frame to keep. */
  readonly snaplen?: number;
  /** Also what has nothing to do with pods. */
  readonly all: boolean;
  readonly showCommands: boolean;
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** `90`, `90s`, `1.5m`, `200ms`: milliseconds. @throws {SyntaxError} */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const ms = match === null ? 0 : Number(match[1]) * UNITS[(match[2] ?? "s") as keyof typeof UNITS];
  if (ms > 0) return ms;
  throw new SyntaxError(`want a time such as 30s, 2m or 500ms, got ${JSON.stringify(text)}`);
}

/** A whole number in a range. @throws {SyntaxError} */
function parseNumber(what: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= least && value <= most) return value;
    throw new SyntaxError(
      `want ${what} from ${least} to ${most}, got ${JSON.stringify(text)}`,
    );
  };
}

/** An address or a prefix. @throws {SyntaxError} */
export function parseHost(text: string): Cidr {
  if (text.includes("/")) return parseCidr(text);
  return hostPrefix(parseIp(text));
}

/** More than any frame has, also one that a device is to cut up. */
const MOST_BYTES = 262_144;

/** The command. */
export const capture: InspectCommand = command<CaptureFlags>({
  loader: () => import("./run.ts").then((m) => m.run),
  parameters: {
    flags: {
      pod: {
        kind: "parsed",
        parse: String,
        optional: true,
        variadic: true,
        placeholder: "name",
        brief: "Only this pod of this node: name, namespace/name, address, device or container",
      },
      peer: {
        kind: "parsed",
        parse: String,
        optional: true,
        variadic: true,
        placeholder: "node",
        brief: "Only packets from and to another node: its name or address, or one of its pods",
      },
      host: {
        kind: "parsed",
        parse: parseHost,
        optional: true,
        variadic: true,
        placeholder: "ip",
        brief: "Only packets from and to this address or prefix, before or after NAT",
      },
      port: {
        kind: "parsed",
        parse: parseNumber("a port", 1, 65_535),
        optional: true,
        variadic: true,
        brief: "Only packets from and to this port",
      },
      proto: {
        kind: "enum",
        values: PROTOCOLS,
        optional: true,
        variadic: true,
        brief: "Only packets of this protocol",
      },
      count: {
        kind: "parsed",
        parse: parseNumber("a number of packets", 1, Number.MAX_SAFE_INTEGER),
        optional: true,
        brief: "End after this many packets",
      },
      duration: {
        kind: "parsed",
        parse: parseDuration,
        optional: true,
        placeholder: "time",
        brief: "End after this time: 30s, 2m, 500ms",
      },
      write: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "file",
        brief: "Write the frames into a pcapng file; - for stdout, as a pipe to Wireshark wants it",
      },
      "as-4789": {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "In the file, give VXLAN packets the port that Wireshark knows: 4789",
      },
      snaplen: {
        kind: "parsed",
        parse: parseNumber("a number of bytes", 128, MOST_BYTES),
        optional: true,
        placeholder: "bytes",
        brief: "Bytes of each frame to write; default all",
      },
      all: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Also what passes the uplink and has nothing to do with pods",
      },
      output: {
        kind: "enum",
        values: CAPTURE_OUTPUTS,
        default: "table",
        brief: "table: a line per packet; wide: a line per interface; json: a document per line",
      },
      showCommands: {
        ...commonFlags.showCommands,
        brief: "Print on stderr the tcpdump and tshark commands that show the same",
      },
      ...podPlaces,
      subnetFile: commonFlags.subnetFile,
      stateDir: commonFlags.stateDir,
      instance: commonFlags.instance,
    },
    aliases: { o: "output", n: "count", w: "write" },
  },
  docs: {
    brief: "Packets on their way through this node: one line each, with every interface",
    fullDescription: describe([
      "Looks at the pods' own interfaces, their veths, the bridge, the VTEP and the uplink at once,",
      "and puts together what is one packet: inside VXLAN, after NAT, cut up or put together. Each",
      "line has the interfaces in the order of time, with microseconds since the first. Interfaces",
      "are those that there are when it starts.",
      "",
      "Only listens: sends nothing, changes nothing, no interface becomes promiscuous. Checksums",
      "of packets that are still inside this node are often left to a device: that is no error.",
      "",
      "Flags of one kind are alternatives, flags of different kinds must all hold. ^C ends it; what",
      "was seen and what was lost is then said on stderr.",
      "",
      "Needs root (CAP_NET_RAW; CAP_SYS_ADMIN to look into pods).",
      "Exit code: 0 fine, 2 wrong usage, 3 cannot capture.",
    ], [
      ["twill inspect capture --pod web --proto icmp", "the way of a ping"],
      [
        "twill inspect capture --peer worker2 --port 53 --duration 30s",
        "DNS with one other node",
      ],
      ["twill inspect capture -w - | wireshark -k -i -", "the same in Wireshark, decoded"],
    ]),
  },
});
