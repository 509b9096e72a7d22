/**
 * What policies say at the hops where the rules of policies stand: which policy decides, by the
 * daemon's word. The kernel's own verdict stays what it is. Pure.
 *
 * @module
 */

import type { Judge } from "../../engine/policy/decide.ts";
import { PROTOCOLS } from "../../engine/policy/model.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import type { TracePacket } from "../../engine/trace/evaluate.ts";
import type { Hop, Trace } from "../../engine/trace/world.ts";
import { decide, type Service } from "../policy/decide.ts";

/** Where the rules of policies stand. */
const HOOKS: ReadonlySet<string> = new Set(["forward", "input"]);

/** Adds the hops: before the rules that a packet of a pod, or for one, passes. */
export function withPolicies<T extends Trace>(
  trace: T,
  first: TracePacket,
  snapshot: PolicySnapshot,
  judge: Judge,
): T {
  const at = trace.hops.findIndex(({ step }) => HOOKS.has(step));
  if (at < 0) return trace;
  const { dst, dport, protocol } = trace.packet;
  const name = PROTOCOLS.find((one) => one.toLowerCase() === protocol);
  const service: Service = name === undefined
    ? { protocol: "other" }
    : { protocol: name, ...(dport === undefined ? {} : { port: dport }) };
  // Behind the translation of destinations, before that of sources.
  const verdict = decide(snapshot, judge, [first.src, dst], service);
  const hops = (["egress", "ingress"] as const).flatMap((direction): Hop[] => {
    const ip = direction === "egress" ? first.src : dst;
    const { words, answer } = verdict[direction];
    if (answer === undefined && !snapshot.held.includes(ip)) return [];
    const node = judge.podAt(ip)?.pod.node;
    const where = node === undefined || node === snapshot.node ? "" : ` (judged on ${node})`;
    return [{ step: `${direction}-policy`, at: ip, what: `${words}${where}`, maybe: [] }];
  });
  return { ...trace, hops: [...trace.hops.slice(0, at), ...hops, ...trace.hops.slice(at)] };
}
