/**
 * Netlink bytes as people read them, written without our codec: it is what the codec is judged by.
 *
 * @module
 */

/** Bytes of hexadecimal text; what stands behind two spaces in a line is a comment. */
export function unhex(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.split("\n").map((line) => line.trim().split("  ", 1)[0]).join("");
  return Uint8Array.from(digits.match(/[0-9a-f]{2}/g) ?? [], (pair) => parseInt(pair, 16));
}

/** Hexadecimal text, two digits a byte. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A message's fixed header: names and sizes of its members, in their order. */
type Head = readonly (readonly [name: string, size: 1 | 2 | 4])[];

const IFINFOMSG: Head = [
  ["family", 1],
  ["", 1],
  ["type", 2],
  ["index", 4],
  ["flags", 4],
  ["change", 4],
];

/** By the first of each group of four message types (new, delete, get, set). */
const HEADS: Readonly<Record<number, Head>> = {
  16: IFINFOMSG,
  20: [["family", 1], ["length", 1], ["flags", 1], ["scope", 1], ["index", 4]],
  24: [
    ["family", 1],
    ["length", 1],
    ["srcLength", 1],
    ["tos", 1],
    ["table", 1],
    ["protocol", 1],
    ["scope", 1],
    ["type", 1],
    ["flags", 4],
  ],
  28: [
    ["family", 1],
    ["", 1],
    ["", 2],
    ["index", 4],
    ["state", 2],
    ["flags", 1],
    ["type", 1],
  ],
};

/** Paths of attributes that hold attributes: IFLA_LINKINFO with its data, RTA_METRICS. */
const NESTS = new Set(["16:18", "16:18.2", "16:18.5", "24:8"]);

/** Names: IFLA_IFNAME, of the peer too, and the drivers'. They end with a zero byte or not. */
const NAMES = new Set(["16:3", "16:18.1", "16:18.4", "16:18.2.1.3"]);

/** `VETH_INFO_PEER` holds a whole link message. */
const PEER = "16:18.2.1";

/**
 * What a request says, one sorted line for each number that is not zero and each attribute, so
 * that the order of attributes and the choice of padding do not count.
 */
export function meaning(message: Uint8Array): string[] {
  const view = viewOf(message);
  const type = view.getUint16(4, true);
  const group = type & ~3;
  const lines = [`message type ${type} flags 0x${view.getUint16(6, true).toString(16)}`];
  const head = HEADS[group];
  if (head === undefined) throw new Error(`no such message type: ${type}`);
  body(message.subarray(16, view.getUint32(0, true)), head, `${group}:`, lines);
  return lines.map((line) => line.replace(/^\d+:/, "")).sort();
}

function body(bytes: Uint8Array, head: Head, path: string, lines: string[]): void {
  const view = viewOf(bytes);
  let at = 0;
  for (const [name, size] of head) {
    const value = size === 1
      ? view.getUint8(at)
      : size === 2
      ? view.getUint16(at, true)
      : view.getUint32(at, true);
    if (value !== 0) lines.push(`${path}${name} ${value}`);
    at += size;
  }
  attributes(bytes.subarray(at), path, lines);
}

function attributes(bytes: Uint8Array, path: string, lines: string[]): void {
  // In a veth's data attribute 1 is a message, in a vxlan's a number: the driver decides.
  const isVeth = (): boolean => lines.includes("16:18.1 veth");
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length;) {
    const size = view.getUint16(at, true);
    const type = view.getUint16(at + 2, true) & 0x3fff;
    const payload = bytes.subarray(at + 4, at + size);
    const here = `${path}${type}`;
    if (NESTS.has(here)) attributes(payload, `${here}.`, lines);
    else if (here === PEER && isVeth()) body(payload, IFINFOMSG, `${here}.`, lines);
    else if (NAMES.has(here)) lines.push(`${here} ${decoder.decode(payload).replace(/\0$/, "")}`);
    else lines.push(`${here} ${hex(payload)}`.trimEnd());
    at += (size + 3) & ~3;
  }
}

const decoder = new TextDecoder();

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
