/**
 * What is said beside the data: why a list is empty or not sure, and how to see the same by hand.
 *
 * @module
 */

import { familyOf } from "../engine/ip.ts";
import type { Overlay } from "./overlay.ts";

/** Notes for stderr, and whether nothing at all is known about the overlay. */
export function notesOf(
  overlay: Overlay,
  items: number,
  what: string,
): { readonly notes: readonly string[]; readonly unknown: boolean } {
  const { file, vteps, tunnels, networks } = overlay;
  const notes: string[] = [];
  if (file.kind === "missing") {
    notes.push(`No ${file.path}: judged by overlay devices alone; twill inspect subnet says more`);
  } else if (file.kind === "damaged") {
    notes.push(`${file.reason}: judged by overlay devices alone`);
  } else if (file.kind === "unreadable") {
    notes.push(`Cannot read ${file.path}: ${file.reason}: judged by overlay devices alone`);
  }
  const unknown = networks.length === 0 && vteps.length + tunnels.length === 0 &&
    overlay.bridge === undefined;
  if (unknown) {
    notes.push(
      `Cannot tell about ${what}: this node has no overlay device (a vxlan link named flannel.N) ` +
        "and no subnet file; is this the node's network namespace, and did the daemon start?",
    );
  } else if (items === 0) {
    const where = networks.length > 0
      ? `no route leads into ${networks.join(", ")}`
      : `no route leads over ${
        [...vteps, ...tunnels].map(({ name }) => name).join(", ") || "an overlay device"
      }`;
    notes.push(`No ${what}: ${where}`);
  }
  if (tunnels.some(({ kind }) => kind === "wireguard") && what === "peers" && !overlay.keysRead) {
    notes.push("WireGuard tells its keys, peers and handshakes to root alone (CAP_NET_ADMIN)");
  }
  return { notes, unknown };
}

/** The lines of iproute2 that show the routes to pods. */
export function routeCommands({ networks, vteps, tunnels }: Overlay): string[] {
  if (networks.length > 0) {
    return networks.map((network) => `ip -${familyOf(network)} route show root ${network}`);
  }
  return [
    ...vteps.map(({ name, family }) => `ip -${family} route show dev ${name}`),
    ...tunnels.map(({ name }) => `ip route show dev ${name}`),
  ];
}
