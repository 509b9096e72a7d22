/**
 * A trace as text and as JSON. Pure.
 *
 * @module
 */

import { ruleText } from "../../engine/trace/words.ts";
import type { Hop, Trace } from "../../engine/trace/world.ts";
import type { Finding } from "../finding.ts";
import { paint, table, type TableOptions, wrap } from "../style.ts";
import type { Elsewhere, FarHop } from "./elsewhere.ts";
import { type Live, liveFindings, liveJson, liveText } from "./live.ts";
import type { End } from "./resolve.ts";

/** One way, and what the node that it leaves for says of the rest. */
export interface Way extends Trace {
  readonly elsewhere?: Elsewhere;
}

/** What is shown. */
export interface Told {
  readonly from: End;
  readonly to: End;
  /** One for each endpoint of a service; the first is shown whole. */
  readonly traces: readonly Way[];
  /** What one real packet met. */
  readonly live?: Live;
}

/** How it ends, in words. */
export function endingText({ ending, next, hops, packet, elsewhere }: Way): string {
  if (elsewhere !== undefined) return `${elsewhere.node}: ${elsewhere.summary}`;
  switch (ending) {
    case "delivered":
      return `delivered: ${hops.at(-1)?.what ?? ""}`;
    case "leaves":
      return next === undefined
        ? `leaves this node: ${packet.src} to ${packet.dst}`
        : `leaves this node for ${next.node ?? next.publicIp ?? next.subnet}; there: ` +
          `twill inspect trace ${packet.src} ${packet.dst}${
            packet.dport === undefined ? "" : ` ${packet.protocol}/${packet.dport}`
          }`;
    case "fails": {
      const hop = hops.at(-1);
      return `fails at ${hop?.at}: ${hop?.what}`;
    }
  }
}

/** The hops as a table, then how it ends, then what may act. */
export function traceTable({ traces, from, to, live }: Told, options: TableOptions): string {
  const [first, ...others] = traces;
  if (first === undefined) return "";
  const far = first.elsewhere;
  const rows: Row[] = [
    ...first.hops.map(rowOf),
    ...(far?.hops ?? []).map((hop) => ({ ...hop, at: `${far!.node}: ${hop.at}` })),
  ];
  const lines = table(rows, [
    {
      head: "STEP",
      cell: ({ step }) => step,
      colour: ({ ok }) => ok ? undefined : "red" as const,
    },
    { head: "AT", cell: ({ at }) => at },
    { head: "WHAT", cell: whatOf },
  ], options);
  const heading = options.headers ? `${from.label} (${from.ip}) to ${to.label} (${to.ip})\n\n` : "";
  const colour = endOf(first) === "fails" ? "red" as const : "green" as const;
  const ends = [
    paint(options, colour, endingText(first)),
    ...others.map((trace, i) =>
      `endpoint ${i + 2}, ${trace.packet.dst}${
        trace.packet.dport === undefined ? "" : `:${trace.packet.dport}`
      }: ${endingText(trace)}`
    ),
  ];
  return `${heading}${lines}\n${ends.join("\n")}\n${mayAct(first, options)}${
    live === undefined ? "" : `\n${liveText(live)}`
  }`;
}

type Row = FarHop;

function rowOf({ step, at, what, entry, fault }: Hop): Row {
  return { step, at, what, ok: fault === undefined, ...(entry === undefined ? {} : { entry }) };
}

/** How it ends, there if it leaves. */
function endOf({ ending, elsewhere }: Way): Trace["ending"] {
  return elsewhere?.ending ?? ending;
}

function whatOf({ what, entry, ok }: Row): string {
  const mark = ok ? "" : `FAILS: `;
  return `${mark}${what}${entry === undefined ? "" : ` [${entry}]`}`;
}

function mayAct({ hops }: Trace, options: TableOptions): string {
  const all = hops.flatMap(({ step, maybe }) => maybe.map((rule) => ({ step, rule })));
  if (all.length === 0) return "";
  const lines = all.flatMap(({ step, rule }) =>
    wrap(`${step}: ${rule.table}: ${ruleText(rule)}`, options, 2, 4)
  );
  return ["", "may act (not understood):", ...lines, ""].join("\n");
}

/** The document's own keys. */
export function traceJson({ from, to, traces, live }: Told): Record<string, unknown> {
  const end = ({ ip, label, pod, service }: End): Record<string, unknown> => ({
    address: ip,
    label,
    pod: pod?.name ?? null,
    service: service?.service ?? null,
  });
  return {
    from: end(from),
    to: end(to),
    live: live === undefined ? null : liveJson(live),
    items: traces.map((trace, i) => ({
      endpoint: i,
      ending: trace.ending,
      summary: endingText(trace),
      packet: {
        source: trace.packet.src,
        destination: trace.packet.dst,
        protocol: trace.packet.protocol,
        port: trace.packet.dport ?? null,
      },
      next: trace.next === undefined ? null : {
        node: trace.next.node ?? null,
        subnet: trace.next.subnet,
        publicIp: trace.next.publicIp ?? null,
      },
      elsewhere: trace.elsewhere === undefined ? null : {
        node: trace.elsewhere.node,
        ending: trace.elsewhere.ending,
        summary: trace.elsewhere.summary,
        hops: trace.elsewhere.hops.map(({ entry = null, ...hop }) => ({ ...hop, entry })),
      },
      hops: trace.hops.map(({ step, at, what, entry, maybe, fault }) => ({
        step,
        at,
        what,
        entry: entry ?? null,
        ok: fault === undefined,
        mayAct: maybe.map(({ table, chain, rule }) => ({ table, chain, rule: rule.text })),
      })),
    })),
  };
}

/** The hops at which packets end, as findings. */
export function traceFindings({ traces, from, to, live }: Told): Finding[] {
  const seen = new Set<string>();
  const here = traces.flatMap(({ hops, elsewhere }): readonly Finding[] => {
    const hop = hops.at(-1);
    if (hop?.fault === undefined) return elsewhere?.findings ?? [];
    const { id, short, breaks, fix, command } = hop.fault;
    if (seen.has(`${id} ${hop.at}`)) return [];
    seen.add(`${id} ${hop.at}`);
    return [{
      id,
      subject: hop.at,
      short,
      what: hop.what,
      breaks: breaks ?? `packets from ${from.label} to ${to.label} end here`,
      fix,
      ...(command === undefined ? {} : { command }),
    }];
  });
  // Where the way is known to end, a real packet's end is no news.
  return here.length > 0 || live === undefined ? here : liveFindings(live);
}
