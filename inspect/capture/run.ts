/**
 * `twill inspect capture`: the work.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { hostPrefix, type Ip } from "../../engine/ip.ts";
import type { Journey } from "../../engine/packet/correlate.ts";
import { Matcher, Region } from "../../engine/packet/filter.ts";
import { IANA_VXLAN_PORT } from "../../engine/packet/vxlan_port.ts";
import { version } from "../../version.ts";
import { Exit, type InspectContext } from "../context.ts";
import { Clock } from "./clock.ts";
import type { CaptureFlags } from "./command.ts";
import { CaptureFile, decodeHint } from "./file.ts";
import { Pipeline } from "./pipeline.ts";
import { isNamed, nameOfPod, type Pod } from "../pods/join.ts";
import { need } from "../rights.ts";
import { blockOf, documentOf, lineOf, type View } from "./render.ts";
import { lookAround, peerPrefixes, type Scene } from "./scene.ts";
import { captureUntil, End, Sockets } from "./session.ts";
import { Sink } from "./sink.ts";
import { summary } from "./summary.ts";
import { labelOf, seenPods, type Tap, tapsOf } from "./taps.ts";

/** Bytes of a frame that lines are made from: all headers, inside VXLAN too, and some payload. */
const HEADERS = 256;
/** All of a frame. */
const WHOLE = 262_144;

/** No packet takes longer through a node that is not overloaded; ms. */
const UNDER_WAY = 5;

/** The words of the command line mean nothing here. */
class Misunderstood extends Error {}

/** Captures until told to end. @throws {OpError} when it may not, or nothing is there */
export async function run(this: InspectContext, flags: CaptureFlags): Promise<void> {
  need(this, "capture packets", "CAP_NET_RAW");
  const scene = await lookAround(this, flags);
  let wish: Wish;
  try {
    wish = wishOf(flags, scene);
  } catch (e) {
    if (!(e instanceof Misunderstood || e instanceof SyntaxError)) throw e;
    this.process.stderr.write(`twill inspect capture: ${e.message}\n`);
    this.process.exitCode = Exit.usage;
    return;
  }
  const wanted = tapsOf({
    ...scene,
    pods: seenPods(wish.pods ?? scene.pods),
    ports: wish.pods === undefined ? scene.unknownPorts : [],
  });
  if (wanted.length === 0) throw nothingThere();
  if (flags.showCommands) this.process.stderr.write(commands(wanted, scene.ports));
  using undo = new DisposableStack();
  const toFile = flags.write !== undefined;
  const snapLength = toFile ? flags.snaplen ?? WHOLE : HEADERS;
  await using sockets = await Sockets.open(wanted, snapLength);
  const opened = Date.now();
  const end = undo.use(new End(this.interrupted(), flags.duration));
  const clock = new Clock(Date.now());
  const { taps } = sockets;
  const say = (line: string): void => this.process.stderr.write(`${line}\n`);
  const sink = flags.write === "-" ? undefined : new Sink(Deno.stdout, "stdout", () => end.now());
  const target = flags.write === undefined ? undefined : openTarget(flags.write, undo);
  const fileSink = target && new Sink(target, flags.write!, () => end.now());
  const file = fileSink && new CaptureFile({
    taps,
    clock,
    program: `twill ${version().version}`,
    system: system(this),
    snapLength,
    iana: flags["as-4789"],
    ports: scene.ports,
    write: (bytes) => fileSink.bytes(bytes),
  });
  for (const line of greeting(flags, taps, scene.ports)) say(line);
  for (const line of scene.notes) say(line);
  for (const line of sockets.missed) say(`${line}; the pod may have gone`);
  const view: View = { taps, clock, names: namesOf(scene) };
  const show = { table: lineOf, wide: blockOf, json: jsonLine }[flags.output];
  let [packets, frames] = [0, 0];
  const pipeline = new Pipeline({
    from: clock.atMs(opened + UNDER_WAY),
    wants: (journey) => packets < (flags.count ?? Infinity) && wish.wants(journey, taps),
    packet: (journey) => {
      packets++;
      sink?.line(show(journey, view));
      if (packets === flags.count) end.now();
    },
    frame: (sighting) => {
      frames++;
      file?.frame(sighting);
    },
  });
  const began = performance.now();
  await captureUntil(end, {
    sockets,
    clock,
    ports: new Set(scene.ports),
    pipeline,
    after: () => {
      sink?.flush();
      fileSink?.flush();
    },
  });
  const counts = sockets.counts();
  file?.end(clock.atMs(Date.now()), counts);
  fileSink?.flush();
  const seconds = (performance.now() - began) / 1000;
  for (const line of summary({ packets, frames, seconds, taps, counts })) say(line);
  this.process.exitCode = Exit.fine;
}

function jsonLine(journey: Journey, view: View): string {
  return JSON.stringify(documentOf(journey, view));
}

/** What the flags ask for. */
interface Wish {
  /** Only these pods; absent: all. */
  readonly pods?: readonly Pod[];
  readonly wants: (journey: Journey, taps: readonly Tap[]) => boolean;
}

function wishOf(flags: CaptureFlags, scene: Scene): Wish {
  const pods = flags.pod?.flatMap((word) => {
    const found = scene.pods.filter((pod) => isNamed(pod, word));
    if (found.length > 0) return found;
    const known = scene.pods.map(nameOfPod).join(", ") || "none";
    throw new Misunderstood(`no pod ${JSON.stringify(word)} on this node; there are: ${known}`);
  });
  const peers = flags.peer?.flatMap((word) => {
    const found = peerPrefixes(scene.peers, word);
    if (found.length > 0) return found;
    const known = scene.peers.map(({ name, publicIp, subnet }) => name ?? publicIp ?? subnet)
      .join(", ");
    throw new Misunderstood(
      `no other node ${JSON.stringify(word)}; there are: ${known || "none"}`,
    );
  });
  const matcher = new Matcher({
    hosts: flags.host ?? [],
    peers: peers ?? [],
    ports: flags.port ?? [],
    protocols: flags.proto ?? [],
  });
  const podsOnly = pods && new Region(pods.flatMap(({ ips }) => ips.map(hostPrefix)));
  const ours = new Region(scene.networks);
  return {
    ...(pods && { pods }),
    wants: (journey, taps) =>
      (flags.all || concernsPods(journey, taps, ours)) &&
      (podsOnly === undefined || isOf(journey, taps, podsOnly)) && matcher.wants(journey),
  };
}

/** True for all but what only passes the uplink and is neither VXLAN's nor of a pod. */
function concernsPods(journey: Journey, taps: readonly Tap[], ours: Region): boolean {
  for (const { first: { tap, packet }, inner } of journey.places) {
    if (taps[tap]!.role !== "uplink" || inner !== packet || ours.touches(inner)) return true;
  }
  return false;
}

/** True for a packet from or to these pods, or on their own interfaces. */
function isOf(journey: Journey, taps: readonly Tap[], pods: Region): boolean {
  for (const { first: { tap }, inner } of journey.places) {
    if (taps[tap]!.pod !== undefined || pods.touches(inner)) return true;
  }
  return false;
}

function nothingThere(): OpError {
  return new OpError("capture on", "this node", {
    code: ErrorCode.kernel,
    kernel: "it has no pod, no pods' bridge, no VTEP and no uplink",
    advice: "Is this the node's network namespace, and did the daemon start? twill inspect status",
  });
}

function namesOf({ pods, peers }: Scene): ReadonlyMap<Ip, string> {
  return new Map([
    ...pods.flatMap((pod) => pod.ips.map((ip) => [ip, nameOfPod(pod)] as const)),
    ...peers.flatMap(({ name, publicIp }) =>
      name === undefined || publicIp === undefined ? [] : [[publicIp, name] as const]
    ),
  ]);
}

function openTarget(path: string, undo: DisposableStack): typeof Deno.stdout | Deno.FsFile {
  if (path === "-") return Deno.stdout;
  try {
    // What pods say to each other is nobody else's business.
    const options = { write: true, create: true, truncate: true, mode: 0o600 };
    return undo.use(Deno.openSync(path, options));
  } catch (cause) {
    throw new OpError("write to", path, { code: ErrorCode.io, cause });
  }
}

function system(context: InspectContext): string {
  try {
    return `Linux ${context.readFile("/proc/sys/kernel/osrelease").trim()}`;
  } catch {
    return "Linux";
  }
}

/** Said when it starts. */
function greeting(flags: CaptureFlags, taps: readonly Tap[], ports: readonly number[]): string[] {
  const names = taps.length > 12 ? `${taps.length} interfaces` : taps.map(labelOf).join(", ");
  const port = ports.length === 0 ? "" : `, VXLAN on port ${ports.join(", ")}`;
  const lines = [`Capturing on ${names}${port}; ^C ends it`];
  if (flags.write === undefined || ports.length === 0) return lines;
  const where = flags.write === "-" ? "what is written" : flags.write;
  lines.push(
    flags["as-4789"]
      ? `In ${where}, outer UDP port ${ports.join(", ")} becomes ${IANA_VXLAN_PORT}`
      : `Wireshark and tshark decode the outer packets when told: ${decodeHint(ports)}`,
  );
  return lines;
}

/** The lines of tcpdump that show the same, one interface each. */
function commands(taps: readonly Tap[], ports: readonly number[]): string {
  const lines = taps.map(({ role, name, netns }) => {
    const filter = role === "uplink" ? ports.map((port) => ` udp port ${port}`).join(" or") : "";
    const vxlan = filter === "" ? "" : " -T vxlan";
    const inside = netns === undefined ? "" : `nsenter --net=${netns} `;
    return `$ ${inside}tcpdump -ni ${name}${vxlan}${filter}`;
  });
  if (ports.length > 0) lines.push(`$ tshark -r FILE ${decodeHint(ports)}`);
  return lines.map((line) => `${line}\n`).join("");
}
