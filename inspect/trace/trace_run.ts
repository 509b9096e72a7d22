/**
 * `twill inspect trace`: the work.
 *
 * @module
 */

import { tunnelCommands } from "../../engine/tunnel.ts";
import { familyOf, networkOf } from "../../engine/ip.ts";
import type { TracePacket } from "../../engine/trace/evaluate.ts";
import type { MarkedPacket } from "../../engine/trace/marked.ts";
import { type Origin, walk } from "../../engine/trace/walk.ts";
import type { Trace } from "../../engine/trace/world.ts";
import { Exit, type InspectContext } from "../context.ts";
import { gather } from "../gather.ts";
import { know, knowledgeCommands } from "../knowledge.ts";
import type { Overlay } from "../overlay.ts";
import { gatherPods } from "../pods/gather.ts";
import { joinPods } from "../pods/join.ts";
import { askSnapshot, judgeOf } from "../policy/look.ts";
import { give } from "../report.ts";
import { need } from "../rights.ts";
import { type Live, liveOf } from "./live.ts";
import { elsewhereUrl, readElsewhere } from "./elsewhere.ts";
import { endingText, type Told, traceFindings, traceJson, traceTable, type Way } from "./render.ts";
import { type Names, parsePort, question, resolve, UnknownWord } from "./resolve.ts";
import { readTables } from "./rules.ts";
import { withPolicies } from "./policies.ts";
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
    if (flags.live && !flags.probe) {
      throw new UnknownWord("--live sends a packet: say so with --probe");
    }
    if (flags.live) {
      need(this, "have the kernel trace a packet", "CAP_NET_ADMIN");
      need(this, "send a packet", "CAP_NET_RAW");
    }
    const wanted = port === undefined ? undefined : parsePort(port);
    using tools = await this.traceTools();
    const { names, overlay, notes, commands, links } = await look(this, flags, tools);
    const [from, to] = [resolve(src, names, undefined), resolve(dst, names, wanted)];
    const { origin, packet } = question(names.world, from, to, wanted);
    const here: Trace[] = [];
    for (let take = 0; take < MOST_WAYS; take++) {
      here.push(walk(names.world, origin, packet, take));
      if (take + 1 >= here[0]!.ways) break;
    }
    const unasked: string[] = [];
    const ways = flags.probe ? await askOthers(this, flags, here, unasked) : here;
    const odd: string[] = [];
    const known = await askSnapshot(this, flags, odd);
    const judge = known && judgeOf(known);
    const traces = known?.synced === undefined || judge === undefined
      ? ways
      : ways.map((way) => withPolicies(way, packet, known, judge));
    const live = flags.live ? await send(tools, origin, packet, here[0]!, links) : undefined;
    const told: Told = { from, to, traces, ...(live === undefined ? {} : { live }) };
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
      notes: [...notes, ...odd, ...unasked],
      unknown: typeof tables === "string" || unasked.length > 0,
    });
  } catch (e) {
    if (!(e instanceof UnknownWord || e instanceof SyntaxError)) throw e;
    this.process.stderr.write(`twill inspect trace: ${e.message}\n`);
    this.process.exitCode = Exit.usage;
  }
}

/** Sends the packet for real. @throws {UnknownWord} when that cannot be done from here */
async function send(
  tools: TraceTools,
  origin: Origin,
  { src, dst, protocol, dport }: TracePacket,
  { outer }: Trace,
  links: ReadonlyMap<number, string>,
): Promise<Live> {
  const netns = origin.kind === "pod" ? origin.pod.netns : undefined;
  if (origin.kind === "link" || origin.kind === "pod" && netns === undefined) {
    throw new UnknownWord("--live can send from a pod of this node, and from this node itself");
  }
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "icmp") {
    throw new UnknownWord(`--live can send tcp, udp and icmp, not ${protocol}`);
  }
  const marked: MarkedPacket = {
    src,
    dst,
    protocol,
    token: tools.token(),
    ...(dport === undefined ? {} : { dport }),
  };
  // The inner addresses of IPv6 are not looked for.
  const around = familyOf(dst) === 4 && outer !== undefined && familyOf(outer.remote) === 4
    ? outer
    : undefined;
  const result = await tools.live(netns, marked, around);
  return liveOf(
    marked,
    result,
    (index) => links.get(index) ?? `if${index}`,
    (table, chain, handle) => tools.ruleText(table, chain, handle),
  );
}

/** How long a daemon may take, ms. */
const PATIENCE = 6_000;

/** Asks the nodes that the ways leave for; one after the other, since each answers one at a time. */
async function askOthers(
  context: InspectContext,
  { healthPort }: TraceFlags,
  traces: readonly Trace[],
  unasked: string[],
): Promise<Way[]> {
  const { page } = await context.checkTools();
  const ways: Way[] = [];
  for (const trace of traces) {
    const url = elsewhereUrl(trace, healthPort);
    const node = trace.next?.node ?? trace.next?.publicIp ?? "";
    const text = url === undefined ? undefined : await page(url, PATIENCE);
    const elsewhere = text === undefined ? undefined : readElsewhere(text, node);
    if (url !== undefined && elsewhere === undefined) {
      unasked.push(
        `Cannot tell about ${node}: no daemon of twill answers on port ${healthPort} (it runs ` +
          "flannel, or --health-port is another)",
      );
    }
    ways.push(elsewhere === undefined ? trace : { ...trace, elsewhere });
  }
  return ways;
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
  /** Names of the node's links by their numbers. */
  readonly links: ReadonlyMap<number, string>;
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
    keysRead: overlay.keysRead,
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
    links: new Map(sources.host.map(({ index, name }) => [index, name])),
  };
}

function nodeName(told: string | undefined): string {
  return told ?? "this node";
}

function commandsOf({ vteps, tunnels }: Overlay, src: string, dst: string): string[] {
  return [
    `ip route get ${dst} from ${src} iif cni0`,
    ...vteps.flatMap((
      { name },
    ) => [`ip neighbour show dev ${name}`, `bridge fdb show dev ${name}`]),
    ...tunnelCommands(tunnels),
    "nft list ruleset",
    "iptables-save",
  ];
}
