/**
 * `twill inspect trace`: the work.
 *
 * @module
 */

import { networkOf } from "../../engine/ip.ts";
import { walk } from "../../engine/trace/walk.ts";
import type { Trace } from "../../engine/trace/world.ts";
import { Exit, type InspectContext } from "../context.ts";
import { gather } from "../gather.ts";
import { know, knowledgeCommands } from "../knowledge.ts";
import type { Overlay } from "../overlay.ts";
import { gatherPods } from "../pods/gather.ts";
import { joinPods } from "../pods/join.ts";
import { give } from "../report.ts";
import { endingText, type Told, traceFindings, traceJson, traceTable } from "./render.ts";
import { type Names, parsePort, question, resolve, UnknownWord } from "./resolve.ts";
import { readTables } from "./rules.ts";
import { servicePorts } from "./services.ts";
import type { TraceTools } from "./tools.ts";
import type { TraceFlags } from "./trace.ts";
import { worldOf } from "./world.ts";

/** Endpoints of one service that are followed. */
const MOST_WAYS = 16;

/** Settings that decide something on the way. */
const SYSCTLS = [
  "net/ipv4/ip_forward",
  "net/ipv6/conf/all/forwarding",
  "net/bridge/bridge-nf-call-iptables",
  "net/bridge/bridge-nf-call-ip6tables",
] as const;

/** Reads, follows, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(
  this: InspectContext,
  flags: TraceFlags,
  src: string,
  dst: string,
  port?: string,
): Promise<void> {
  try {
    const wanted = port === undefined ? undefined : parsePort(port);
    using tools = await this.traceTools();
    const { names, overlay, notes, commands } = await look(this, flags, tools);
    const [from, to] = [resolve(src, names, undefined), resolve(dst, names, wanted)];
    const { origin, packet } = question(names.world, from, to, wanted);
    const traces: Trace[] = [];
    for (let take = 0; take < MOST_WAYS; take++) {
      traces.push(walk(names.world, origin, packet, take));
      if (take + 1 >= traces[0]!.ways) break;
    }
    const told: Told = { from, to, traces };
    const { tables } = names.world;
    await give(this, flags, {
      kind: "trace",
      document: traceJson(told),
      names: [endingText(traces[0]!)],
      table: (options) => traceTable(told, options),
      findings: traceFindings(told),
      sources: {
        from: ["host-local reservations", "runtime cache", "netlink"],
        to: ["host-local reservations", "runtime cache", "netlink", "nft", "iptables"],
        items: ["netlink", "nft", "iptables", "sysctl", "status socket", "snapshot"],
        "items.ending": "computed",
      },
      commands: [...commands, ...commandsOf(overlay, from.ip, to.ip)],
      notes,
      unknown: typeof tables === "string",
    });
  } catch (e) {
    if (!(e instanceof UnknownWord || e instanceof SyntaxError)) throw e;
    this.process.stderr.write(`twill inspect trace: ${e.message}\n`);
    this.process.exitCode = Exit.usage;
  }
}

async function look(
  context: InspectContext,
  flags: TraceFlags,
  tools: TraceTools,
): Promise<{
  readonly names: Names;
  readonly overlay: Overlay;
  readonly notes: readonly string[];
  readonly commands: readonly string[];
}> {
  const overlay = await gather(context, {
    subnetFile: flags.subnetFile,
    addresses: true,
    peers: true,
  });
  const known = await know(context, flags);
  const sources = await gatherPods(context, flags);
  const pods = joinPods(sources, overlay.subnets.map(networkOf));
  const tables = readTables(tools, context.readFile);
  using kernel = await context.open();
  const world = worldOf({
    node: nodeName(known.leases?.own.node),
    facts: [...overlay.facts, ...kernel.read({ sysctls: SYSCTLS })],
    pods,
    known,
    tables,
    lookUp: (netns, asked) => tools.lookUp(netns, asked),
  });
  return {
    names: { world, pods, services: typeof tables === "string" ? [] : servicePorts(tables) },
    overlay,
    notes: [
      ...known.notes,
      ...sources.notes,
      ...(typeof tables === "string" ? [`Rules are not known: ${tables}; run as root`] : []),
    ],
    commands: knowledgeCommands(flags, known),
  };
}

function nodeName(told: string | undefined): string {
  return told ?? "this node";
}

function commandsOf({ vteps }: Overlay, src: string, dst: string): string[] {
  return [
    `ip route get ${dst} from ${src} iif cni0`,
    ...vteps.flatMap((
      { name },
    ) => [`ip neighbour show dev ${name}`, `bridge fdb show dev ${name}`]),
    "nft list ruleset",
    "iptables-save",
  ];
}
