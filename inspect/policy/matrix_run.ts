/**
 * `twill inspect policy matrix`: the work.
 *
 * @module
 */

import { keyOf, type Pod } from "../../engine/policy/model.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import type { InspectContext } from "../context.ts";
import { give, type Report } from "../report.ts";
import type { TableOptions } from "../style.ts";
import type { MatrixFlags, PolicyFlags, SIGHTS } from "./commands.ts";
import { decide, type Service } from "./decide.ts";
import { judgeOf, look, pairs, type PolicyView } from "./look.ts";
import { serviceText } from "./port.ts";

/** Decides about all pairs, and gives out. */
export async function run(this: InspectContext, flags: MatrixFlags): Promise<void> {
  const view = await look(this, flags);
  if (view.snapshot === undefined) return await giveNothing(this, flags, view, "policy matrix");
  await give(this, flags, matrixReport(view, view.snapshot, flags));
}

/** Where only the daemon could tell. */
export async function giveNothing(
  context: InspectContext,
  flags: PolicyFlags,
  view: PolicyView,
  kind: string,
): Promise<void> {
  await give(context, flags, {
    kind,
    document: kind === "policy lint" ? { policies: null } : {
      protocol: null,
      port: null,
      pods: [],
      combined: [],
      ingress: [],
      egress: [],
    },
    names: [],
    table: () => "",
    findings: [],
    sources: {},
    commands: view.commands,
    notes: [...view.notes, "Cannot tell: this needs a daemon that knows the policies"],
    unknown: true,
  });
}

type Sight = (typeof SIGHTS)[number];
type Rows = Readonly<Record<Sight, readonly string[]>>;

function matrixReport(
  view: PolicyView,
  snapshot: PolicySnapshot,
  { namespace, port, direction }: MatrixFlags,
): Report {
  const pods = snapshot.cluster.pods.filter((pod) =>
    !pod.hostNetwork && pod.ips.length > 0 &&
    (namespace === undefined || pod.namespace === namespace)
  ).sort((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
  const rows = rowsOf(snapshot, pods, port);
  const names = pods.map(keyOf);
  return {
    kind: "policy matrix",
    document: { protocol: port.protocol, port: port.port ?? null, pods: names, ...rows },
    names: names.flatMap((from, i) =>
      names.filter((_, j) => rows[direction][i]?.[j] === "X").map((to) => `${from} ${to}`)
    ),
    table: (options) => matrixText(names, rows[direction], options),
    findings: [],
    sources: {
      pods: "status socket",
      combined: "computed",
      ingress: "computed",
      egress: "computed",
    },
    commands: view.commands,
    notes: [
      ...view.notes,
      ...(pods.length === 0
        ? [`No pods${namespace === undefined ? "" : ` in namespace ${namespace}`}`]
        : [`${serviceText(port)}, ${direction}; rows are sources, columns destinations`]),
    ],
  };
}

/** A pair counts as denied when it is in any family that both have. */
function rowsOf(snapshot: PolicySnapshot, pods: readonly Pod[], service: Service): Rows {
  const judge = judgeOf(snapshot);
  const ends = pods.map((pod) => ({ label: keyOf(pod), ips: pod.ips }));
  const verdicts = ends.map((from) =>
    ends.map((to) => pairs(from, to).map((pair) => decide(snapshot, judge, pair, service)))
  );
  const rows = (allowed: (one: ReturnType<typeof decide>) => boolean): string[] =>
    verdicts.map((row) => row.map((all) => all.every(allowed) ? "." : "X").join(""));
  return {
    combined: rows((one) => one.allowed),
    ingress: rows(({ ingress }) => ingress.allowed),
    egress: rows(({ egress }) => egress.allowed),
  };
}

function matrixText(
  names: readonly string[],
  rows: readonly string[],
  { headers }: TableOptions,
): string {
  const digits = String(names.length).length;
  const number = (i: number): string => String(i + 1).padStart(digits);
  const longest = Math.max(0, ...names.map(({ length }) => length));
  const head = `${" ".repeat(digits + longest + 2)}  ${names.map((_, i) => number(i)).join(" ")}\n`;
  const lines = rows.map((row, i) =>
    `${number(i)}  ${names[i]!.padEnd(longest)}  ${
      [...row].map((one) => one.padStart(digits)).join(" ")
    }\n`
  );
  return names.length === 0 ? "" : (headers ? head : "") + lines.join("");
}
