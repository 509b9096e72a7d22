/**
 * The impure half of finding pods: namespaces, the IPAM plugin's files, the runtime's notes.
 *
 * @module
 */

import { OpError } from "../../engine/errors.ts";
import { Errno } from "../../ffi/errno.ts";
import { Kernel, type Link } from "../../ffi/kernel.ts";
import { NamespaceIds } from "../../ffi/netlink/namespace_id.ts";
import {
  type LinkView,
  type NamespaceView,
  type Note,
  parseNote,
  parseReservation,
  type Reservation,
} from "./pods.ts";

/** Where runtimes pin network namespaces: `ip netns`, containerd and CRI-O; Docker. */
const PINNED = ["/run/netns", "/run/docker/netns"] as const;
/** Reservations of host-local, one folder a network. */
const NETWORKS = "/var/lib/cni/networks";
/** Notes of libcni, one file an attachment. */
const NOTES = "/var/lib/cni/results";

/** What {@link namespaces} saw. */
export interface Namespaces {
  /** Those to which a link of the node leads, each once. */
  readonly found: readonly NamespaceView[];
  /** How many of these may not be entered. */
  readonly refused: number;
}

/** All namespaces to which a link of the calling thread's own leads. */
export function namespaces(): Namespaces {
  using ids = new NamespaceIds();
  const seen = new Set([identityOf("/proc/thread-self/ns/net")]);
  const found: NamespaceView[] = [];
  let refused = 0;
  for (const path of candidates()) {
    const identity = identityOf(path);
    if (identity === undefined || seen.has(identity)) continue;
    seen.add(identity);
    try {
      const id = ids.of(path);
      if (id !== undefined) found.push(look(path, id));
    } catch (e) {
      // A file that is no namespace (any more), or one that is not ours to enter.
      if (!(e instanceof OpError)) throw e;
      if (e.errno === Errno.EPERM || e.errno === Errno.EACCES) refused++;
    }
  }
  return { found, refused };
}

/** Pinned ones first, since their names say something; then those that only processes hold. */
function* candidates(): Iterable<string> {
  for (const folder of PINNED) for (const name of list(folder)) yield `${folder}/${name}`;
  for (const name of list("/proc")) if (/^\d+$/.test(name)) yield `/proc/${name}/ns/net`;
}

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev} ${ino}`;
  } catch {
    return undefined; // gone, or not ours to look at
  }
}

function look(path: string, id: number): NamespaceView {
  using kernel = Kernel.open({ pod: path });
  return { path, id, links: kernel.links("pod").map(viewOf), addresses: kernel.addresses("pod") };
}

/** The part of a link that matters here. */
export function viewOf({ index, name, kind, lower, master, message }: Link): LinkView {
  const { linkNetnsId } = message.attributes;
  return {
    index,
    name,
    kind,
    ...(lower === undefined ? {} : { lower }),
    ...(linkNetnsId === undefined ? {} : { lowerNamespace: linkNetnsId }),
    ...(master === undefined ? {} : { master }),
  };
}

/** The reservations of all networks. */
export function reservations(): Reservation[] {
  return list(NETWORKS).flatMap((network) =>
    list(`${NETWORKS}/${network}`).flatMap((file) => {
      const text = read(`${NETWORKS}/${network}/${file}`);
      return text === undefined ? [] : parseReservation(file, text) ?? [];
    })
  );
}

/** What the runtime noted. */
export function notes(): Note[] {
  return list(NOTES).flatMap((file) => {
    const text = read(`${NOTES}/${file}`);
    return text === undefined ? [] : parseNote(text) ?? [];
  });
}

function list(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  } catch {
    return []; // there is none, or it is not ours to read
  }
}

function read(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined; // gone meanwhile
  }
}
