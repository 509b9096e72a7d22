/**
 * Whether the VTEPs that there should be are there, and up. Pure; several commands want to know.
 *
 * @module
 */

import { type Family, familyOf } from "../engine/ip.ts";
import { DAEMON, type Finding } from "./finding.ts";
import { DEFAULTS, linkOf, OVERHEAD, type Overlay } from "./overlay.ts";

/** VTEPs that are down, and subnets that lack one. */
export function judgeDevices(overlay: Overlay): Finding[] {
  return [...missing(overlay), ...down(overlay)];
}

function down({ vteps, tunnels }: Overlay): Finding[] {
  const ours = [
    ...vteps.filter(({ foreign }) => !foreign).map((vtep) => ({ ...vtep, word: "VTEP" })),
    ...tunnels.map((tunnel) => ({ ...tunnel, word: "device" })),
  ];
  return ours.filter(({ up }) => !up).map(({ name, word }) => ({
    id: "device-down",
    subject: name,
    short: `${word} is down`,
    what: `the ${word} is down, and with it the kernel dropped its routes`,
    breaks: "no packet reaches a pod of another node",
    fix: `where flanneld runs, restart it: it makes its routes only then; ${DAEMON}`,
    command: `ip link set ${name} up`,
  }));
}

const NAMES = { 4: "flannel.N", 6: "flannel-v6.N" } as const satisfies Record<Family, string>;

/** A subnet without a VTEP, although its sibling or the MTU says that packets are encapsulated. */
function missing({ file, facts, vteps, subnets }: Overlay): Finding[] {
  if (file.kind !== "read") return [];
  const { mtu } = file.env;
  const uplinks = facts.flatMap((fact) =>
    fact.kind === "route" && DEFAULTS.has(fact.dst) ? fact.dev ?? [] : []
  );
  const lacking = subnets.map(familyOf).filter((family) =>
    !vteps.some((vtep) => vtep.family === family)
  );
  const isVxlan = vteps.length > 0 ||
    lacking.some((family) =>
      uplinks.some((name) => linkOf(facts, name)?.mtu === mtu + OVERHEAD[family])
    );
  if (!isVxlan) return [];
  return lacking.map((family) => ({
    id: "no-vtep",
    subject: NAMES[family],
    short: "missing",
    what: `there is no IPv${family} VTEP, a vxlan link of this name, though FLANNEL_MTU=${mtu} ` +
      "is that of a vxlan network",
    breaks: "no packet reaches a pod of another node",
    fix: "twill's daemon makes it again by itself: see whether it runs, and its log",
  }));
}
