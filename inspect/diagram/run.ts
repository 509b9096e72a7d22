/**
 * `twill inspect diagram`: the work.
 *
 * @module
 */

import { tunnelCommands } from "../../engine/tunnel.ts";
import { drawMermaid } from "../../engine/diagram/mermaid.ts";
import { type Diagram, diagramOf, shorten } from "../../engine/diagram/picture.ts";
import { drawSvg } from "../../engine/diagram/svg.ts";
import { drawText } from "../../engine/diagram/text.ts";
import { networkOf } from "../../engine/ip.ts";
import type { InspectContext } from "../context.ts";
import { gather } from "../gather.ts";
import { judgeDevices } from "../judge_devices.ts";
import { know, knowledgeCommands } from "../knowledge.ts";
import { notesOf, routeCommands } from "../notes.ts";
import { gatherPods } from "../pods/gather.ts";
import { joinPods } from "../pods/join.ts";
import { judgePods } from "../pods/judge.ts";
import { give, giveForm, type Report } from "../report.ts";
import type { DiagramFlags } from "./diagram.ts";
import { peersOf, sceneOf } from "./scene.ts";

/** As many of a kind fit on a screen. */
const MANY = 16;

/** Gathers, draws, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: DiagramFlags): Promise<void> {
  const { report, picture } = await draw(this, flags);
  const { output, ...rest } = flags;
  switch (output) {
    case "svg":
      return giveForm(this, flags.showCommands, report, drawSvg(picture));
    case "mermaid":
      return giveForm(this, flags.showCommands, report, drawMermaid(picture));
    default: {
      const form = output === "text" ? "table" : output;
      await give(this, { ...rest, output: form, noHeaders: false }, report);
    }
  }
}

async function draw(
  context: InspectContext,
  flags: DiagramFlags,
): Promise<{ readonly report: Report; readonly picture: Diagram }> {
  const known = await know(context, flags);
  const overlay = await gather(context, {
    subnetFile: flags.subnetFile,
    peers: true,
    addresses: true,
  });
  const subnets = overlay.subnets.map(networkOf);
  const sources = await gatherPods(context, flags);
  const pods = judgePods(joinPods(sources, subnets), sources, subnets, flags.networksDir);
  const devices = judgeDevices(overlay);
  const peers = peersOf(overlay, known, devices);
  const whole = diagramOf(sceneOf(overlay, known, peers, pods, devices));
  const picture = flags.all ? whole : shorten(whole, MANY);
  const from = known.leases?.from;
  const { notes, unknown } = notesOf(overlay, 1, "the pod network");
  const judged = [...devices, ...pods.flatMap(({ findings }) => findings)];
  return {
    picture,
    report: {
      kind: "diagram",
      document: {
        title: whole.title,
        boxes: whole.boxes.map(({ lines, ...box }) => ({ ...box, lines: [...lines] })),
        wires: whole.wires,
      },
      names: whole.boxes.map(({ id }) => id),
      table: () => drawText(picture, context.unicode),
      findings: [...new Set([...judged, ...peers.flatMap(({ findings }) => findings)])],
      sources: {
        title: ["subnet.env", ...(from === undefined ? [] : [from])],
        boxes: ["netlink", "host-local reservations", "runtime cache", ...(from ? [from] : [])],
        "boxes.ok": "computed",
        wires: "computed",
      },
      commands: [
        "ip -d link show",
        "ip address show",
        ...routeCommands(overlay),
        ...overlay.vteps.flatMap(({ name }) => [
          `ip neighbour show dev ${name}`,
          `bridge fdb show dev ${name}`,
        ]),
        ...tunnelCommands(overlay.tunnels),
        ...knowledgeCommands(flags, known),
      ],
      notes: [...known.notes, ...sources.notes, ...notes],
      unknown,
    },
  };
}
