/**
 * `twill inspect explain`: the work.
 *
 * @module
 */

import { COMMANDS } from "../app.ts";
import { Exit, type InspectContext } from "../context.ts";
import { peersOf } from "../diagram/scene.ts";
import type { CommonFlags } from "../flags.ts";
import { gather } from "../gather.ts";
import { judgeDevices } from "../judge_devices.ts";
import { know, knowledgeCommands } from "../knowledge.ts";
import { routeCommands } from "../notes.ts";
import { give, type Report } from "../report.ts";
import { table, type TableOptions, wrap } from "../style.ts";
import { findTopic, near, type Node, TOPICS, type Value } from "./topics.ts";

/** Explains. @throws {OpError} when the kernel cannot be read */
export async function run(
  this: InspectContext,
  flags: CommonFlags,
  subject?: string,
): Promise<void> {
  if (subject === undefined) return await give(this, flags, listed());
  const topic = findTopic(subject);
  if (topic !== undefined) return await give(this, flags, await told(this, flags, topic));
  const entry = Object.hasOwn(COMMANDS, subject) ? COMMANDS[subject] : undefined;
  if (typeof entry === "function") {
    const { docs: { brief, fullDescription = "" } } = await entry();
    return await give(this, flags, ofCommand(subject, brief, fullDescription));
  }
  if (entry !== undefined) {
    const more = Object.keys(entry.commands).map((one) => `twill inspect ${subject} ${one} --help`);
    return await give(this, flags, ofCommand(subject, entry.brief, more.join("\n")));
  }
  const names = near(subject, [...Object.keys(TOPICS), ...Object.keys(COMMANDS)]);
  const meant = names.length === 0 ? "" : `; did you mean ${names.join(" or ")}?`;
  this.process.stderr.write(
    `twill inspect explain: no topic or command ${JSON.stringify(subject)}${meant}\n` +
      "Run: twill inspect explain\n",
  );
  this.process.exitCode = Exit.usage;
}

const NOTHING = { findings: [], sources: {}, commands: [], notes: [] } as const;

function listed(): Report {
  const topics = Object.entries(TOPICS).map(([name, { brief }]) => ({ name, brief }));
  return {
    ...NOTHING,
    kind: "explain",
    document: { items: topics },
    names: topics.map(({ name }) => name),
    table: (options) =>
      table(topics, [
        { head: "TOPIC", cell: ({ name }) => name },
        { head: "WHAT", cell: ({ brief }) => brief },
      ], options),
  };
}

/** What a topic or a command comes to. */
interface Lesson {
  readonly name: string;
  readonly text: readonly string[];
  readonly here: readonly Value[];
  readonly see: readonly string[];
}

async function told(context: InspectContext, flags: CommonFlags, name: string): Promise<Report> {
  const topic = TOPICS[name]!;
  const known = await know(context, flags);
  const { subnetFile } = flags;
  const overlay = await gather(context, { subnetFile, peers: true, addresses: true });
  const devices = judgeDevices(overlay);
  const peers = peersOf(overlay, known, devices);
  const node: Node = { overlay, known, peers, devices, now: context.now() };
  const from = known.leases?.from;
  return {
    ...lesson({ name, text: topic.text, here: topic.here(node), see: topic.see }),
    sources: { text: [], here: ["netlink", "subnet.env", ...(from === undefined ? [] : [from])] },
    commands: [
      `cat ${overlay.file.path}`,
      "ip -d link show",
      ...routeCommands(overlay),
      ...overlay.vteps.flatMap(({ name }) => [
        `ip neighbour show dev ${name}`,
        `bridge fdb show dev ${name}`,
      ]),
      ...knowledgeCommands(flags, known),
    ],
    notes: known.notes,
  };
}

function ofCommand(name: string, brief: string, description: string): Report {
  const topics = Object.entries(TOPICS).filter(([, { see }]) => see.includes(name));
  return lesson({
    name,
    text: [brief, ...description.split("\n\n")],
    here: [],
    see: [name, ...topics.map(([topic]) => `explain ${topic}`)],
  });
}

function lesson({ name, text, here, see }: Lesson): Report {
  return {
    ...NOTHING,
    kind: "explain",
    document: {
      topic: name,
      text,
      here: here.map(([key, value]) => ({ name: key, value })),
      see: see.map((command) => `twill inspect ${command}`),
    },
    names: [name],
    table: (options) => shown({ name, text, here, see }, options),
  };
}

/** Columns of a paragraph where the terminal does not say. */
const COLUMNS = 100;

function shown({ text, here, see }: Lesson, options: TableOptions): string {
  const style = { ...options, width: Math.min(options.width ?? COLUMNS, COLUMNS) };
  const width = Math.max(0, ...here.map(([name]) => name.length));
  const values = here.flatMap(([name, value]) =>
    wrap(`${name.padEnd(width)}  ${value}`, { ...options }, 2, width + 4)
  );
  return [
    // Lines of a command's description are broken already.
    ...text.map((part) => part.includes("\n") ? part : wrap(part, style, 0).join("\n")),
    ...(values.length === 0 ? [] : [["On this node:", ...values].join("\n")]),
    ["See:", ...see.map((command) => `  twill inspect ${command}`)].join("\n"),
  ].join("\n\n") + "\n";
}
