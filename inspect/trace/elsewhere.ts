/**
 * The rest of a packet's way: on the node that it leaves for, as the daemon there tells it on its
 * health port. Asked with `--probe` only.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import type { Ending, Trace } from "../../engine/trace/world.ts";
import type { Finding } from "../finding.ts";

/** A hop there. */
export interface FarHop {
  readonly step: string;
  readonly at: string;
  readonly what: string;
  readonly entry?: string;
  readonly ok: boolean;
}

/** What the other node tells. */
export interface Elsewhere {
  /** What the node is called. */
  readonly node: string;
  readonly ending: Ending;
  readonly summary: string;
  readonly hops: readonly FarHop[];
  readonly findings: readonly Finding[];
}

/** The question to the node that a trace leaves for; undefined when it leaves for none. */
export function elsewhereUrl({ next, packet }: Trace, healthPort: number): string | undefined {
  if (next?.publicIp === undefined) return undefined;
  const query = new URLSearchParams({
    src: packet.src,
    dst: packet.dst,
    protocol: packet.protocol,
    ...(packet.dport === undefined ? {} : { port: String(packet.dport) }),
  });
  return `http://${inUrl(next.publicIp)}:${healthPort}/trace?${query}`;
}

function inUrl(ip: Ip): string {
  return ip.includes(":") ? `[${ip}]` : ip;
}

/** Reads the answer; undefined when it is none of ours. */
export function readElsewhere(text: string, node: string): Elsewhere | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return undefined;
  }
  // deno-lint-ignore no-explicit-any -- foreign JSON: each member is looked at below
  const { kind, items, findings } = Object(document) as Record<string, any>;
  const first = Array.isArray(items) ? Object(items[0]) : {};
  if (kind !== "trace" || !Array.isArray(first.hops)) return undefined;
  if (!["delivered", "leaves", "fails"].includes(first.ending)) return undefined;
  return {
    node,
    ending: first.ending,
    summary: String(first.summary),
    hops: first.hops.map((hop: Record<string, unknown>): FarHop => ({
      step: String(hop.step),
      at: String(hop.at),
      what: String(hop.what),
      ok: hop.ok === true,
      ...(typeof hop.entry === "string" ? { entry: hop.entry } : {}),
    })),
    findings: (Array.isArray(findings) ? findings : []).map((one): Finding => ({
      id: String(one.id),
      subject: `${node}: ${one.subject}`,
      short: String(one.id),
      what: String(one.what),
      breaks: String(one.breaks),
      fix: String(one.fix),
      ...(typeof one.command === "string" ? { command: one.command } : {}),
    })),
  };
}
