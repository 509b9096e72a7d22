/**
 * The lines of `status` that come from the daemon: itself, its store, its last pass, the plugins.
 * Pure.
 *
 * @module
 */

import type { NodeStatus } from "../../engine/node_status.ts";
import { judgeDaemon } from "../check/judge_daemon.ts";
import type { Finding } from "../finding.ts";
import { judgeLeases } from "../judge_leases.ts";
import { duration } from "../words.ts";
import { info, row, type StatusRow, type StatusView, unknown } from "./view.ts";

/** The lines, in three parts of the screen. */
export function daemonRows(view: StatusView): {
  readonly daemon: StatusRow;
  readonly store: StatusRow;
  readonly rest: readonly StatusRow[];
} {
  const { known, now } = view;
  const { daemon } = known;
  return {
    daemon: daemonRow(view),
    store: storeRow(view),
    rest: daemon === undefined ? [] : [
      passRow(daemon, now),
      pluginsRow(daemon, now),
      policyRow(daemon),
    ],
  };
}

function daemonRow({ known, now }: StatusView): StatusRow {
  const { findings, rows: [found] } = judgeDaemon({ known, installed: true });
  const { daemon } = known;
  if (daemon === undefined) {
    return {
      name: "daemon",
      status: found?.status ?? "unknown",
      detail: found?.detail ?? "",
      findings,
    };
  }
  const ready = daemon.reasons.length === 0 ? "ready" : `not ready: ${daemon.reasons.join("; ")}`;
  const remarks = daemon.remarks.map((remark) => `; ${remark}`).join("");
  const age = duration(now - daemon.started);
  return row("daemon", `${ready}, ${daemon.version}, up ${age}${remarks}`, findings);
}

function storeRow({ known, now }: StatusView): StatusRow {
  const { daemon, leases } = known;
  if (leases === undefined) return unknown("store", "nobody to ask");
  const { ends, leases: all } = leases;
  const count = `${all.length} leases`;
  const end = ends === undefined
    ? "ours has no end"
    : ends > now
    ? `ours ends in ${duration(ends - now)} unless renewed`
    : `ours ended ${duration(now - ends)} ago`;
  const ended = judgeLeases(known, undefined, now).flatMap(({ findings }) => findings);
  if (daemon === undefined) {
    const at = new Date(leases.at).toISOString();
    return row("store", `${count} in the snapshot of ${at}; ${end}`, ended);
  }
  const { name, connected, problem, remembered } = daemon.store;
  const silent: Finding[] = connected && remembered === undefined ? [] : [{
    id: "store-silent",
    subject: name,
    short: "does not answer",
    what: problem ?? "the store does not answer",
    breaks: remembered === undefined
      ? "what changes on other nodes is not followed, and the lease is not renewed"
      : "the node follows the last good snapshot, and lets no new pod start",
    fix: "see whether the store runs and is reached from this node, and the daemon's log",
  }];
  const answers = silent.length > 0 ? "does not answer" : "answers";
  return row("store", `${name} ${answers}; ${count}, ${end}`, [...silent, ...ended]);
}

function passRow({ pass, started }: NodeStatus, now: number): StatusRow {
  if (pass === undefined) {
    return unknown("last pass", `none in the ${duration(now - started)} since the start`);
  }
  const { at, cause, took, changes, own } = pass;
  return row(
    "last pass",
    `${duration(now - at)} ago, because of: ${cause}; ${changes} changes in ${took} ms`,
    own.map(({ reason }) => ({
      id: "own-refused",
      subject: "this node",
      short: "refused",
      what: `the kernel refused what this node needs: ${reason}`,
      breaks: "the node is not ready, and lets no new pod start",
      fix: "see the daemon's log, and what else on this node changes its network",
    })),
  );
}

/** What to do about the reason that most calls were left for. */
const REMEDIES: Readonly<Record<string, string>> = {
  "another build": "the plugins are of another build than the daemon: run twill install again",
  "another netns": "the runtime is in another network namespace than the daemon",
  "another mntns": "the runtime is in another mount namespace (a container?) than the daemon",
  "another root": "the runtime has another root directory than the daemon",
};

function pluginsRow({ plugins, instance }: NodeStatus, now: number): StatusRow {
  const { listening, served, lastServed, left } = plugins;
  if (instance !== "") return info("plugins", "not served: this daemon is one of several");
  const reasons = Object.entries(left).sort(([, a], [, b]) => b - a);
  const leftWords = reasons.map(([reason, count]) => `${count} left to the client: ${reason}`);
  const ago = lastServed === undefined ? "" : `, the last ${duration(now - lastServed)} ago`;
  const detail = [
    listening ? `${served} calls served by the daemon${ago}` : "not served: each starts a process",
    ...leftWords,
  ].join("; ");
  const [worst] = reasons;
  if (listening && (served > 0 || worst === undefined)) return row("plugins", detail);
  const reason = worst?.[0];
  return row("plugins", detail, [{
    id: "plugins-not-served",
    subject: "plugins",
    short: "not served",
    what: listening
      ? `the daemon served none of the runtime's calls: ${reason}`
      : "the daemon does not listen for the runtime's calls",
    breaks: "nothing: pods start and end, but each call starts the whole program, which is slower",
    fix: REMEDIES[reason ?? ""] ?? "see the daemon's log",
  }]);
}

function policyRow({ policy }: NodeStatus): StatusRow {
  const { state, reasons, policies, isolated, faults } = policy;
  const why = reasons.length === 0 ? "" : `: ${reasons.join("; ")}`;
  if (state === "off") return info("policy", `NetworkPolicy is not enforced here${why}`);
  const findings: Finding[] = faults.map((fault) => ({
    id: "policy-unenforceable",
    subject: fault.policy,
    short: "cannot be enforced",
    what: `this NetworkPolicy cannot be enforced as it is written: ${fault.reason}`,
    breaks: "its pods are closed until it is corrected",
    fix: "correct or delete it:",
    command: `kubectl edit networkpolicy -n ${fault.policy.replace("/", " ")}`,
  }));
  if (state === "degraded") {
    findings.unshift({
      id: "policy-degraded",
      subject: "policy",
      short: "degraded",
      what: `NetworkPolicy is not fully enforced${why}`,
      breaks:
        "what the reason says; rules that stand go on, but where the API is away or refuses, " +
        "changes of policies and pods are not followed",
      fix: "do what the reason says; more is in the daemon's log",
    });
  }
  return row(
    "policy",
    `${state}: ${policies} policies, ${isolated} pods of this node isolated${why}`,
    findings,
  );
}
