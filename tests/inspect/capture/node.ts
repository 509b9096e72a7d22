/**
 * A node on paper, as a capture sees it: its interfaces, in the order of the places of
 * `tests/engine/packet/frames.ts`.
 *
 * @module
 */

import { parseIp } from "../../../engine/ip.ts";
import { parseMac } from "../../../engine/mac.ts";
import { Correlator, type Journey } from "../../../engine/packet/correlate.ts";
import { Clock } from "../../../inspect/capture/clock.ts";
import type { View } from "../../../inspect/capture/render.ts";
import type { Tap } from "../../../inspect/capture/taps.ts";
import { type Place, seen } from "../../engine/packet/frames.ts";

const [web, db] = ["default/web", "shop/db"] as const;
const link = "ethernet";

/** The interfaces: pod, veth, bridge, VTEP, uplink, another pod, its veth. */
export const TAPS: readonly Tap[] = [
  { role: "pod", name: "eth0", index: 2, netns: "/run/netns/web", pod: web, link },
  { role: "veth", name: "veth7", index: 7, pod: web, link, mac: parseMac("02:00:00:00:00:07") },
  { role: "bridge", name: "cni0", index: 4, link },
  { role: "vtep", name: "flannel.1", index: 3, link },
  { role: "uplink", name: "eth0", index: 2, link },
  { role: "pod", name: "eth0", index: 2, netns: "/run/netns/db", pod: db, link },
  { role: "veth", name: "veth8", index: 8, pod: db, link },
];

/** 2026-11-24 12:00:00.5 UTC. */
const NOON = Date.UTC(2026, 10, 24, 12, 0, 0, 500);

/** The view of that node. */
export const VIEW: View = {
  taps: TAPS,
  clock: new Clock(NOON),
  names: new Map([
    [parseIp("10.244.1.2"), "default/web"],
    [parseIp("10.244.1.3"), "shop/db"],
    [parseIp("192.0.2.2"), "worker2"],
  ]),
};

/** The journey of a packet that was seen at these places at these microseconds. */
export function journey(...steps: readonly (readonly [Place, number, Uint8Array])[]): Journey {
  const correlator = new Correlator();
  const found = steps.map(([place, us, bytes]) =>
    correlator.add(seen(place, 123_456_000 + us * 1000, bytes))
  );
  const [first] = found;
  if (first === undefined || found.some((other) => other.whole !== first.whole)) {
    throw new Error("it is not one packet");
  }
  return first.whole;
}
