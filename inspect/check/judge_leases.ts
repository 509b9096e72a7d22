/**
 * What the leases want and what the kernel holds, entry by entry; addresses that two leases share;
 * the end of our own. Pure: the engine's planner finds the differences.
 *
 * @module
 */

import { makeBackend } from "../../engine/backend/registry.ts";
import { messageOf } from "../../engine/errors.ts";
import { describe, type Fact, type LinkFact, slotOf } from "../../engine/fact.ts";
import { type Lease, leaseSubnets } from "../../engine/lease.ts";
import type { Memory } from "../../engine/memory.ts";
import { type Change, plan, satisfies } from "../../engine/plan.ts";
import { DAEMON, type Finding } from "../finding.ts";
import { joinPeers } from "../join_peers.ts";
import { judgeDevices } from "../judge_devices.ts";
import { judgeLeases as judgeEach } from "../judge_leases.ts";
import { judgePeers } from "../judge_peers.ts";
import { commandFor } from "../judge_wanted.ts";
import { selfOf } from "../wanted.ts";
import { judged, passed, together, unknown, type Verdict } from "./verdict.ts";
import type { NodeView } from "./view.ts";

/** Entries of peers, the own device, and the leases themselves. */
export function judgeLeases(view: NodeView): Verdict {
  const { leases } = view.known;
  if (!view.installed) return together();
  if (leases !== undefined) {
    return together(entries(view, leases), records(view, leases), ending(view, leases));
  }
  const why = view.known.notes[0] ?? "twill's daemon has not run here";
  return together(
    guessed(view),
    unknown("public-ips", `cannot compare the leases: ${why}`),
    unknown("lease", `cannot tell when it ends: ${why}`),
  );
}

/** Without leases the entries can only be compared with each other. */
function guessed({ overlay }: NodeView): Verdict {
  const devices = judgeDevices(overlay);
  const peers = judgePeers(overlay, joinPeers(overlay), devices);
  return judged(
    "peers",
    `${peers.length} peers: route, neighbour and forwarding entry of each agree with each other`,
    [...new Set([...devices, ...peers.flatMap(({ findings }) => findings)])],
  );
}

function entries(view: NodeView, memory: Memory): Verdict {
  const name = "peers";
  const { own, conf } = memory;
  const self = selfOf(view.overlay, memory, view.known.daemon?.uplink?.name);
  if (typeof self === "string") {
    return judged(name, "", [{
      id: "no-underlay",
      subject: own.publicIp ?? own.publicIp6 ?? "the lease",
      short: "no link has this node's address",
      what: `${self}: no link has the address that this node's lease tells to all others`,
      breaks: "other nodes send packets for its pods to an address that is not here",
      fix: "restart the daemon, which publishes the address that the node has now",
    }]);
  }
  let backend;
  try {
    backend = makeBackend(conf);
  } catch (e) {
    return unknown(name, messageOf(e));
  }
  const peers = peersOf(memory);
  const { own: ownFacts, peers: good } = backend.facts(self, peers);
  const leaseOf = new Map(good.flatMap(({ lease, facts }) => facts.map((f) => [slotOf(f), lease])));
  const want = [...ownFacts, ...good.flatMap(({ facts }) => facts)].map(byAnyone);
  const { changes, conflicts } = plan(want, view.facts, backend.ours());
  const have = new Map(view.facts.map((fact) => [slotOf(fact), fact]));
  const findings = [
    ...changes.filter((change) => isDifference(change, have)).map((change) =>
      ofChange(change, leaseOf.get(slotOf(change.fact)))
    ),
    ...conflicts.map((one) => inTheWay(one.want, one.have, leaseOf.get(slotOf(one.want)))),
  ];
  const at = new Date(memory.at).toISOString();
  return judged(
    name,
    `${peers.length} peers: the kernel holds what their leases say (as of ${at})`,
    findings,
  );
}

/** Flannel's routes bear another number, and are as good as ours. */
function byAnyone(fact: Fact): Fact {
  if (fact.kind !== "route") return fact;
  const { protocol: _, ...route } = fact;
  return route;
}

/** What the planner makes anew only because a device changes is there now, and right. */
function isDifference({ op, fact }: Change, have: ReadonlyMap<string, Fact>): boolean {
  const found = have.get(slotOf(fact));
  return op === "delete" || found === undefined || !satisfies(found, fact);
}

function peersOf({ own, leases }: Memory): Lease[] {
  const mine = new Set(leaseSubnets(own));
  return leases.filter((lease) => !leaseSubnets(lease).some((subnet) => mine.has(subnet)));
}

/** A fact in words, and what is lost without it. */
function meaning(
  fact: Fact,
): { readonly noun: string; readonly id: string; readonly breaks: string } {
  switch (fact.kind) {
    case "neighbour":
      return {
        noun: "neighbour entry",
        id: "neighbour",
        breaks: "packets wait for an answer to a question that nobody hears, and are dropped",
      };
    case "fdb":
      return {
        noun: "forwarding entry",
        id: "fdb",
        breaks: "the kernel does not know which node to send the frames to, and drops them",
      };
    case "route":
      return {
        noun: "route",
        id: "route",
        breaks: "packets to that node's pods take the default route, out of the cluster",
      };
    case "link":
      return { noun: "device", id: "vtep", breaks: "no packet reaches a pod of another node" };
    case "up":
      return {
        noun: "device's state",
        id: "device-down",
        breaks: "no packet reaches a pod of another node",
      };
    case "address":
      return {
        noun: "address",
        id: "vtep-address",
        breaks:
          "this node's own packets to pods of other nodes carry a source that nobody can answer",
      };
    default:
      return { noun: fact.kind, id: fact.kind, breaks: "the node differs from what was agreed" };
  }
}

function ofChange(change: Change, lease: Lease | undefined): Finding {
  const { fact } = change;
  const { noun, id, breaks } = meaning(fact);
  const subject = nameOf(lease) ?? subjectOf(fact);
  if (change.op === "delete") {
    return {
      id: `stale-${id}`,
      subject,
      short: `stale ${noun}`,
      what: `the ${noun} ${describe(fact)} belongs to no lease`,
      breaks: fact.kind === "route"
        ? "packets to this subnet go to a node that is gone, instead of failing or going to its " +
          "next owner"
        : "nothing by itself; it is left of a node that is gone or was renewed",
      fix: DAEMON,
      ...commandOf(change),
    };
  }
  const { had } = change;
  if (had === undefined) {
    return {
      id: fact.kind === "up" ? "device-down" : `no-${id}`,
      subject,
      short: `no ${noun}`,
      what: `there is no ${noun} ${describe(fact)}`,
      breaks,
      fix: DAEMON,
      ...commandOf(change),
    };
  }
  if (had.kind === "up") {
    return {
      id: "device-down",
      subject,
      short: "VTEP is down",
      what: `${had.dev} is down, and with it the kernel dropped its routes`,
      breaks,
      fix: DAEMON,
      ...commandOf(change),
    };
  }
  if (had.kind === "link" && fact.kind === "link") return ofDevice(had, fact);
  const macs = had.kind === "neighbour" && fact.kind === "neighbour";
  return {
    id: macs ? "wrong-mac" : `wrong-${id}`,
    subject,
    short: macs ? "wrong MAC address" : `wrong ${noun}`,
    what: `the ${noun} is ${describe(had)}, the lease wants ${describe(fact)}`,
    breaks: macs ? DEAF : breaks,
    fix: DAEMON,
    ...commandOf(change),
  };
}

const DEAF = "the other end drops frames that are not addressed to its VTEP, without a word";

/** A device of ours that is not as it was agreed. */
function ofDevice(had: LinkFact, want: LinkFact): Finding {
  const { name } = want;
  if (want.mac !== undefined && had.mac !== want.mac) {
    return {
      id: "wrong-mac",
      subject: name,
      short: "wrong MAC address",
      what: `${name} has the MAC address ${had.mac}, but its lease tells all others ${want.mac}`,
      breaks: "this node drops the frames that others send to it, without a word",
      fix: DAEMON,
      command: `ip link set ${name} address ${want.mac}`,
    };
  }
  if (want.mtu !== undefined && had.mtu !== want.mtu && had.driver.kind === want.driver.kind) {
    const large = (had.mtu ?? 0) > want.mtu;
    return {
      id: "vtep-mtu",
      subject: name,
      short: large ? "too large" : "too small",
      what: `${name} has MTU ${had.mtu}, but between nodes is room for ${want.mtu}`,
      breaks: large
        ? "small packets pass and large ones vanish: connections open, then hang"
        : "large packets are answered with errors, or split",
      fix: DAEMON,
      command: `ip link set ${name} mtu ${want.mtu}`,
    };
  }
  return {
    id: "wrong-vtep",
    subject: name,
    short: "another kind of device",
    what: `${describe(had)} is not what the network wants: ${describe(want)}`,
    breaks: "packets leave in a form, or to a port, that other nodes do not understand",
    fix: "twill's daemon makes it anew by itself while it runs",
  };
}

function inTheWay(want: Fact, have: Fact, lease: Lease | undefined): Finding {
  const { noun, breaks } = meaning(want);
  return {
    id: "foreign-in-the-way",
    subject: nameOf(lease) ?? subjectOf(want),
    short: `a foreign ${noun} in its place`,
    what: `the place of ${describe(want)} is taken by ${describe(have)}, which is not ours`,
    breaks,
    fix: "twill does not touch what is not its own: find out who made it, and remove it",
  };
}

function subjectOf(fact: Fact): string {
  switch (fact.kind) {
    case "route":
      return fact.dst;
    case "neighbour":
      return fact.ip;
    case "fdb":
      return fact.mac;
    case "link":
      return fact.name;
    case "up":
    case "address":
      return fact.dev;
    default:
      return describe(fact);
  }
}

function nameOf(lease: Lease | undefined): string | undefined {
  return lease === undefined ? undefined : leaseSubnets(lease)[0];
}

/** The command that makes the change by hand. */
function commandOf({ op, fact }: Change): { readonly command?: string } {
  const gone = op === "delete";
  switch (fact.kind) {
    case "neighbour":
      return {
        command: gone ? `ip neighbour del ${fact.ip} dev ${fact.dev}` : commandFor(fact),
      };
    case "fdb":
      return {
        command: gone
          ? `bridge fdb del ${fact.mac} dev ${fact.dev} dst ${fact.remote}`
          : commandFor(fact),
      };
    case "route":
      return { command: gone ? `ip route del ${describe(fact)}` : commandFor(fact) };
    case "up":
      return { command: `ip link set ${fact.dev} up` };
    case "address":
      return { command: `ip address ${gone ? "del" : "replace"} ${fact.inet} dev ${fact.dev}` };
    default:
      return {};
  }
}

/** What `twill inspect leases` finds about the records themselves. */
function records(view: NodeView, memory: Memory): Verdict {
  const findings = judgeEach(view.known, undefined, view.now).flatMap((one) => one.findings);
  const of = (id: string): Finding[] => findings.filter((one) => one.id === id);
  return together(
    judged(
      "public-ips",
      `${memory.leases.length} leases: each node has a public address of its own`,
      of("shared-public-ip"),
    ),
    judged("records", "all records of the store are leases", of("bad-record")),
  );
}

/** Seconds by which clocks may differ before it is worth a word. */
const CLOCK_SLACK = 60;

function ending(view: NodeView, { at, ends, own }: Memory): Verdict {
  const { now, known } = view;
  if (at - now > CLOCK_SLACK * 1000) {
    return judged("lease", "", [{
      id: "clock",
      subject: "clock",
      short: "the clock has gone back",
      what: `the snapshot of the leases was written at ${iso(at)}, but now it is ${iso(now)}`,
      breaks: "the end of the lease cannot be judged; certificates may count as not yet valid",
      fix: "set the clock, and see whether it is kept right (chrony, systemd-timesyncd):",
      command: "timedatectl",
    }]);
  }
  const ended = judgeEach(known, undefined, now).flatMap(({ findings }) => findings)
    .filter(({ id }) => id === "lease-ended");
  const subject = nameOf(own);
  if (ended.length > 0) return judged("lease", "", ended);
  return passed(
    "lease",
    `${subject}: ${ends === undefined ? "it has no end" : `until ${iso(ends)}`}`,
  );
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
