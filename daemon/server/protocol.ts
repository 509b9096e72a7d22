/**
 * What the plugins' client sends and gets (cni/client/protocol.md). Pure.
 *
 * @module
 */

/** Where a process stands in the system: by these, names of files mean the same or not. */
export interface Place {
  /** `DEVICE:INODE` of its network namespace; the others alike. Empty: it could not be told. */
  readonly netns: string;
  readonly mntns: string;
  readonly root: string;
  readonly cwd: string;
}

/** Files as the client sees them, `DEVICE:INODE` each; empty: there is none, or it cannot be told. */
export interface Files {
  /** The client's own file. */
  readonly self: string;
  /** What `CNI_NETNS` names. */
  readonly pod: string;
  /** `/var/lib/cni`. */
  readonly state: string;
  /** flannel's records: `/var/lib/cni/flannel`. */
  readonly records: string;
  /** `/run/flannel/subnet.env`. */
  readonly subnet: string;
}

/** A whole request. */
export interface ClientRequest {
  /** The name that the client was called by. */
  readonly plugin: string;
  readonly build: string;
  /** A name that no other call has. */
  readonly call: string;
  readonly place: Place;
  readonly files: Files;
  /** The client's environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array<ArrayBuffer>;
}

/** Lengths, as the first bytes of a request tell them. */
export interface Prefix {
  readonly header: number;
  readonly stdin: number;
}

/** Bytes before the header. */
export const PREFIX_BYTES = 12;

/** The most that a header and a stdin may have, bytes. */
export const LARGEST = { header: 1 << 20, stdin: 16 << 20 } as const;

const MAGIC = "TWL1";
/** stdout and stderr of an answer; the client takes no more. */
const LARGEST_OUTPUT = 16 << 20;

/** Nothing was done, and nothing will be. */
export const NOT_ME = new TextEncoder().encode("N");
/** The request belongs to the daemon from now on. */
export const ACCEPTED = new TextEncoder().encode("A");

/** Reads the first {@link PREFIX_BYTES}; undefined when they are those of no request. */
export function parsePrefix(bytes: Uint8Array): Prefix | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, PREFIX_BYTES);
  if (new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC) return undefined;
  const prefix = { header: view.getUint32(4, true), stdin: view.getUint32(8, true) };
  const fits = prefix.header <= LARGEST.header && prefix.stdin <= LARGEST.stdin;
  return fits ? prefix : undefined;
}

/**
 * Reads a request.
 *
 * @param header what stands behind the prefix.
 * @returns undefined when it is malformed, or an environment that is no Unicode text.
 */
export function parseRequest(
  header: Uint8Array,
  stdin: Uint8Array<ArrayBuffer>,
): ClientRequest | undefined {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    return undefined;
  }
  const strings = text.split("\0");
  const border = strings.indexOf("");
  if (border < 0 || strings.at(-1) !== "") return undefined;
  const own = variables(strings.slice(0, border));
  const { plugin, build, call, netns = "", mntns = "", root = "", cwd = "" } = own;
  const { self = "", pod = "", state = "", records = "", subnet = "" } = own;
  if (plugin === undefined || build === undefined || !/^[0-9a-f]{32}$/.test(call ?? "")) {
    return undefined;
  }
  const env = variables(strings.slice(border + 1, -1));
  return {
    ...{ plugin, build, call: call ?? "", env, stdin },
    place: { netns, mntns, root, cwd },
    files: { self, pod, state, records, subnet },
  };
}

/** As in C: of two variables with one name the first counts. */
function variables(strings: readonly string[]): Readonly<Record<string, string>> {
  const found: Record<string, string> = Object.create(null);
  for (const one of strings) {
    const at = one.indexOf("=");
    if (at > 0) found[one.slice(0, at)] ??= one.slice(at + 1);
  }
  return found;
}

/** What follows {@link ACCEPTED}; a longer log is cut. */
export function encodeAnswer(
  status: number,
  stdout: string,
  log: string,
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const out = encoder.encode(stdout);
  const err = encoder.encode(log).subarray(0, LARGEST_OUTPUT);
  const bytes = new Uint8Array(12 + out.length + err.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, status, true);
  view.setUint32(4, out.length, true);
  view.setUint32(8, err.length, true);
  bytes.set(out, 12);
  bytes.set(err, 12 + out.length);
  return bytes;
}

/** True when the client is in another mount namespace than we are. */
export function isElsewhere({ place }: ClientRequest, own: Place): boolean {
  return place.mntns !== own.mntns;
}

/**
 * Why a request cannot be served here; undefined when it can: its process sees the same network
 * and the same files as we do, and is of the same build.
 *
 * @param elsewhere judges the files for a client that {@link isElsewhere}.
 */
export function whyNotMe(
  request: ClientRequest,
  own: { readonly build: string; readonly place: Place },
  elsewhere: (request: ClientRequest) => string | undefined,
): string | undefined {
  if (request.build !== own.build) return "another build";
  const far = isElsewhere(request, own.place);
  // In another mount namespace the root is another one by nature.
  for (const key of far ? ["netns"] as const : ["netns", "mntns", "root"] as const) {
    if (request.place[key] === "" || request.place[key] !== own.place[key]) return `another ${key}`;
  }
  if (far && request.place.mntns === "") return "another mntns";
  const { CNI_NETNS: netns = "", CNI_PATH: path = "", CNI_CONTAINERID: id = "" } = request.env;
  // A second ADD of it fails where the first has made its device, and it keeps no record of that.
  if (request.plugin === "bandwidth" && request.env.CNI_COMMAND === "ADD") return "bandwidth";
  // Each process has a /proc/self of its own.
  if (/\/(?:self|thread-self)\//.test(netns)) return "a path of its own process";
  const names = [netns, ...path.split(":")].filter((name) => name !== "");
  const relative = names.some((name) => !name.startsWith("/"));
  if (relative && request.place.cwd !== own.place.cwd) return "another directory";
  if (id.length > LONGEST_ID) return "an identifier too long to keep books by";
  return far ? elsewhere(request) : undefined;
}

/** With the interface's name behind, it still names a file. */
const LONGEST_ID = 200;
