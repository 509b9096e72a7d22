/**
 * Leases, each with what this node makes of it. Pure.
 *
 * @module
 */

import { type Lease, leaseKey, leaseSubnets } from "../engine/lease.ts";
import type { NodeStatus } from "../engine/node_status.ts";
import { DAEMON, type Finding } from "./finding.ts";
import type { Knowledge } from "./knowledge.ts";
import { commandFor } from "./judge_wanted.ts";
import { byPrefix } from "./overlay.ts";
import { difference, type WantedLease, type WantedNode } from "./wanted.ts";

/** One lease. */
export interface JudgedLease {
  /** Absent for a record of the store that is none. */
  readonly lease?: Lease;
  /** Its key in the store. */
  readonly key: string;
  readonly own: boolean;
  /** When it ends, as `Date.now()` counts; only this node's own is known. */
  readonly ends?: number;
  readonly status: "this node" | "ok" | "wrong" | "unknown";
  /** What is wanted of the kernel and is not so, in words. */
  readonly differences: readonly string[];
  readonly findings: readonly Finding[];
}

/** @param wanted what the leases ask of the kernel; a text says why that cannot be told. */
export function judgeLeases(
  { daemon, leases }: Knowledge,
  wanted: WantedNode | string | undefined,
  now: number,
): JudgedLease[] {
  if (leases === undefined) return [];
  const all = typeof wanted === "object"
    ? wanted.leases
    : leases.leases.map((lease): WantedLease => ({
      lease,
      own: leaseKey(lease) === leaseKey(leases.own),
      facts: [],
    }));
  const refused = refusals(daemon);
  const rivals = byAddress(all.map(({ lease }) => lease));
  const items = all.map((one): JudgedLease => {
    const key = leaseKey(one.lease);
    const { ends } = leases;
    const findings = [
      ...(one.own ? ownFindings(one.lease, ends, now) : []),
      ...(one.own ? [] : peerFindings(one, refused.get(key))),
      ...sharedAddress(one.lease, rivals),
    ];
    return {
      lease: one.lease,
      key,
      own: one.own,
      ...(one.own && ends !== undefined ? { ends } : {}),
      status: findings.length > 0
        ? "wrong"
        : one.own
        ? "this node"
        : typeof wanted === "object"
        ? "ok"
        : "unknown",
      differences: one.facts.filter(({ state }) => state !== "ok").map(difference),
      findings,
    };
  });
  return [
    ...byPrefix(items, ({ lease }) => lease && leaseSubnets(lease)[0]),
    ...(daemon?.store.bad ?? []).map(({ who, reason }) => badRecord(who, reason)),
  ];
}

function refusals(daemon: NodeStatus | undefined): Map<string, string> {
  const { refused = [], unusable = [] } = daemon?.pass ?? {};
  return new Map([...refused, ...unusable].map(({ who, reason }) => [who, reason]));
}

function nameOf(lease: Lease): string {
  return leaseSubnets(lease).join(",");
}

function ownFindings(lease: Lease, ends: number | undefined, now: number): Finding[] {
  if (ends === undefined || ends > now) return [];
  return [{
    id: "lease-ended",
    subject: nameOf(lease),
    short: "ended",
    what: `this node's lease ended at ${new Date(ends).toISOString()}, and was not renewed`,
    breaks: "other nodes drop their way to this node's pods; another node may get this subnet",
    fix:
      "see whether the daemon runs, whether it reaches its store, and whether the clock is right",
  }];
}

function peerFindings(one: WantedLease, refused: string | undefined): Finding[] {
  const subject = nameOf(one.lease);
  const wrong = one.facts.filter(({ state }) => state !== "ok");
  const bad = one.bad ?? (wrong.length > 0 ? undefined : refused);
  if (bad !== undefined) {
    return [{
      id: "unusable-lease",
      subject,
      short: "cannot be used",
      what: `its lease cannot be used here: ${bad}`,
      breaks: "this node has no way to that node's pods",
      fix: "see what that node's daemon published, and its log",
    }];
  }
  if (wrong.length === 0) return [];
  return [{
    id: "not-programmed",
    subject,
    short: `${wrong.length} of ${one.facts.length} entries wrong`,
    what: [
      `the kernel does not hold what its lease asks for: ${wrong.map(difference).join("; ")}`,
      ...(refused === undefined ? [] : [`the daemon says: ${refused}`]),
    ].join("; "),
    breaks: "packets to its pods do not arrive",
    fix: DAEMON,
    command: wrong.map(({ fact }) => commandFor(fact)).join(" && "),
  }];
}

function byAddress(leases: readonly Lease[]): Map<string, Lease[]> {
  const found = new Map<string, Lease[]>();
  for (const lease of leases) {
    for (const ip of [lease.publicIp, lease.publicIp6]) {
      if (ip !== undefined) found.set(ip, [...found.get(ip) ?? [], lease]);
    }
  }
  return found;
}

function sharedAddress(lease: Lease, all: ReadonlyMap<string, readonly Lease[]>): Finding[] {
  return [lease.publicIp, lease.publicIp6].flatMap((ip): Finding[] => {
    const others = (all.get(ip ?? "") ?? []).filter((one) => one !== lease);
    if (others.length === 0) return [];
    return [{
      id: "shared-public-ip",
      subject: nameOf(lease),
      short: "public IP used twice",
      what: `its public IP ${ip} is also that of ${others.map(nameOf).join(" and ")}`,
      breaks: "packets for one of them arrive at the other",
      fix:
        "give each node an address of its own: twill daemon --public-ip; or delete the lease of " +
        "a node that is gone",
    }];
  });
}

function badRecord(key: string, reason: string): JudgedLease {
  return {
    key,
    own: false,
    status: "wrong",
    differences: [],
    findings: [{
      id: "bad-record",
      subject: key,
      short: "no lease",
      what: `this record in the store is no lease: ${reason}`,
      breaks: "nothing else: it is left out, and whoever wrote it is not reached",
      fix: "see who wrote it; delete or correct it",
    }],
  };
}
