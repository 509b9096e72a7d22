/**
 * `twill inspect policy can`: the work.
 *
 * @module
 */

import { familyOf, type Ip, networkOf } from "../../engine/ip.ts";
import { type FoundTable, policiesOf } from "../../engine/policy/found.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import { Exit, type InspectContext } from "../context.ts";
import type { Finding } from "../finding.ts";
import { readSubnetFile } from "../gather.ts";
import { gatherPods } from "../pods/gather.ts";
import { isNamed, joinPods, nameOfPod } from "../pods/join.ts";
import type { PodPlaces } from "../pods/pods.ts";
import { give, type Report } from "../report.ts";
import { paint, table } from "../style.ts";
import type { CanFlags, PolicyFlags } from "./commands.ts";
import {
  decide,
  endJson,
  passesKernel,
  type Service,
  type Verdict,
  wantsKernel,
} from "./decide.ts";
import {
  asAddress,
  judgeOf,
  look,
  pairs,
  type PolicyEnd,
  type PolicyView,
  resolveEnd,
  UnknownName,
} from "./look.ts";
import { parseService, serviceText } from "./port.ts";

/** Decides, and gives out. */
export async function run(
  this: InspectContext,
  flags: CanFlags,
  src: string,
  dst: string,
  port: string,
): Promise<void> {
  await orUsage(this, "can", async () => {
    const service = parseService(port);
    const view = await look(this, flags);
    const report = view.snapshot === undefined
      ? await byKernel(this, flags, view, [src, dst], service)
      : byDaemon(view, view.snapshot, [src, dst], service);
    await give(this, flags, report);
    // A denial is an answer, not a fault: nothing is to be repaired, but scripts want to know.
    const { allowed } = report.document as { allowed: boolean | null };
    if (allowed === false) this.process.exitCode = Exit.finding;
  });
}

/** Runs the work; words that mean nothing are wrong usage. */
export async function orUsage(
  context: InspectContext,
  name: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (e) {
    if (!(e instanceof UnknownName || e instanceof SyntaxError)) throw e;
    context.process.stderr.write(`twill inspect policy ${name}: ${e.message}\n`);
    context.process.exitCode = Exit.usage;
  }
}

function byDaemon(
  view: PolicyView,
  snapshot: PolicySnapshot,
  [src, dst]: readonly [string, string],
  service: Service,
): Report {
  const judge = judgeOf(snapshot);
  const [from, to] = [resolveEnd(snapshot, src), resolveEnd(snapshot, dst)];
  const both = pairs(from, to);
  if (both.length === 0) {
    throw new UnknownName(`${from.label} and ${to.label} have no addresses of the same family`);
  }
  const verdicts = both.map((pair) => decide(snapshot, judge, pair, service));
  const kernels = verdicts.map((verdict): Kernel => {
    const { source, destination } = verdict;
    const found = passesKernel(view.tables, [source, destination], service);
    if (typeof view.found === "string" || found === undefined) return "unknown";
    return found.passes === wantsKernel(snapshot, judge, verdict) ? "agrees" : "differs";
  });
  const allowed = verdicts.every((one) => one.allowed);
  return {
    kind: "policy can",
    document: {
      from: endOf(from),
      to: endOf(to),
      protocol: service.protocol,
      port: service.port ?? null,
      allowed,
      items: verdicts.map((verdict, i) => ({
        source: verdict.source,
        destination: verdict.destination,
        allowed: verdict.allowed,
        egress: endJson(verdict.egress),
        ingress: endJson(verdict.ingress),
        kernel: kernels[i],
      })),
    },
    names: [allowed ? "allowed" : "denied"],
    table: (options) => {
      const rows = verdicts.flatMap(({ source, destination, egress, ingress }) => [
        { end: "egress", at: source, ...egress },
        { end: "ingress", at: destination, ...ingress },
      ]);
      const lines = table(rows, [
        { head: "DIRECTION", cell: ({ end }) => end },
        { head: "AT", cell: ({ at }) => at },
        {
          head: "VERDICT",
          cell: ({ allowed }) => allowed ? "allowed" : "denied",
          colour: ({ allowed }) => allowed ? "green" as const : "red" as const,
        },
        { head: "WHY", cell: ({ words }) => words },
      ], options);
      return `${lines}\n${lastWord(from, to, service, allowed, options)}\n`;
    },
    findings: verdicts.flatMap((verdict, i) =>
      kernels[i] === "differs" ? [differs(view, verdict)] : []
    ),
    sources: {
      from: "status socket",
      to: "status socket",
      "items.kernel": "nft",
      items: "computed",
    },
    commands: view.commands,
    notes: view.notes,
  };
}

function lastWord(
  from: { readonly label: string },
  to: { readonly label: string },
  service: Service,
  allowed: boolean,
  style: Parameters<typeof paint>[0],
): string {
  const text = `${from.label} to ${to.label}, ${serviceText(service)}: ${
    allowed ? "allowed" : "denied"
  }`;
  return paint(style, allowed ? "green" : "red", text);
}

type Kernel = "agrees" | "differs" | "unknown";

function endOf({ label, ips, pod }: PolicyEnd): Record<string, unknown> {
  return { label, ips, node: pod?.node ?? null };
}

function differs({ table }: PolicyView, { source, destination, allowed }: Verdict): Finding {
  return {
    id: "kernel-differs",
    subject: table,
    short: "kernel differs",
    what: `the kernel does not do with packets from ${source} to ${destination} what policies say`,
    breaks: allowed ? "a connection that is allowed does not come about" : "a denied one does",
    fix:
      "twill's daemon repairs its table at once while it runs: see what it says in its log, and:",
    command: "twill inspect status",
  };
}

/** What the table alone tells: of pods of this node. */
async function byKernel(
  context: InspectContext,
  flags: PolicyFlags & PodPlaces,
  view: PolicyView,
  words: readonly [string, string],
  service: Service,
): Promise<Report> {
  const { found } = view;
  const [from, to] = (await localEnds(context, flags, words)) as [PolicyEnd, PolicyEnd];
  const both = pairs(from, to);
  const results = both.map((pair) => passesKernel(view.tables, pair, service));
  const known = typeof found === "object" && results.length > 0;
  const denied = results.find((one) => one?.passes === false);
  const outcome = !known
    ? "not known"
    : denied === undefined
    ? "no rule on this node denies it; the other end, and whether the table is up to date, are not known"
    : `denied on this node by ${who(found, denied.chain ?? "")}`;
  return {
    kind: "policy can",
    document: {
      from: endOf(from),
      to: endOf(to),
      protocol: service.protocol,
      port: service.port ?? null,
      allowed: known && denied !== undefined ? false : null,
      items: [],
    },
    names: [known && denied !== undefined ? "denied" : "unknown"],
    table: () => `${from.label} to ${to.label}, ${serviceText(service)}: ${outcome}\n`,
    findings: [],
    sources: { allowed: "nft" },
    commands: view.commands,
    notes: view.notes,
    unknown: true,
  };
}

function who(found: FoundTable, chain: string): string {
  const policies = policiesOf(found, chain);
  if (policies.length === 0) return `chain ${chain} (its pod is not known yet)`;
  const direction = chain.startsWith("out-") ? "egress" : "ingress";
  return `${policies.join(", ")} (${direction}; no rule matches)`;
}

/** Pods of this node, by what the plugins and the runtime left; and addresses. */
export async function localEnds(
  context: InspectContext,
  flags: PolicyFlags & PodPlaces,
  words: readonly string[],
): Promise<PolicyEnd[]> {
  const file = readSubnetFile(context, flags.subnetFile);
  const subnets = file.kind === "read"
    ? [file.env.subnet, file.env.subnet6].flatMap((inet) =>
      inet === undefined ? [] : networkOf(inet)
    )
    : [];
  const pods = joinPods(await gatherPods(context, flags), subnets);
  return words.map((word) => {
    const pod = pods.find((one) => isNamed(one, word));
    const ip = asAddress(word);
    const own = ip === undefined
      ? undefined
      : pod?.ips.filter((one) => familyOf(one) === familyOf(ip));
    const ips: readonly Ip[] = ip === undefined ? pod?.ips ?? [] : own ?? [ip];
    if (pod === undefined && ip === undefined) {
      throw new UnknownName(
        `${JSON.stringify(word)} is no pod of this node and no address; others need the daemon`,
      );
    }
    return { label: pod === undefined ? word : nameOfPod(pod), ips };
  });
}
