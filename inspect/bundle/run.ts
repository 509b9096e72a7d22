/**
 * `twill inspect bundle`: the work.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { versionLine } from "../../version.ts";
import { runInspect } from "../app.ts";
import { Exit, type InspectContext } from "../context.ts";
import type { PlaceFlags } from "../flags.ts";
import { snapshotPath, statusSocket } from "../places.ts";
import type { BundleFlags } from "./bundle.ts";
import { redact, REMOVED } from "./redact.ts";
import { type Entry, tar } from "./tar.ts";

/** Commands whose answers are kept, with the forms of each. */
const ANSWERS: readonly (readonly [line: string, forms: readonly string[]])[] = [
  ["status", ["table", "json"]],
  ["subnet", ["table", "json"]],
  ["routes --all", ["wide", "json"]],
  ["peers", ["wide", "json"]],
  ["leases", ["wide", "json"]],
  ["pods", ["wide", "json"]],
  ["rules --all", ["wide", "json"]],
  ["check", ["table", "json"]],
  ["diagram --all", ["text", "svg", "json"]],
];

/** Files as they are, when they are there. */
const FILES = [
  "/etc/kube-flannel/net-conf.json",
  "/etc/systemd/system/twill.service",
  "/etc/os-release",
  "/proc/version",
  "/proc/sys/net/ipv4/ip_forward",
  "/proc/sys/net/ipv6/conf/all/forwarding",
  "/proc/sys/net/bridge/bridge-nf-call-iptables",
] as const;

/** Where runtimes look for networks. */
const NETWORKS = "/etc/cni/net.d";

/** Gathers, packs, writes. @throws {OpError} when it cannot be written */
export async function run(this: InspectContext, flags: BundleFlags): Promise<void> {
  const at = new Date(this.now());
  const stamp = at.toISOString().replace(/[-:]|\.\d+/g, "");
  const folder = `twill-bundle-${stamp}`;
  const path = flags.write ?? `${folder}.tar.gz`;
  if (path === "-" && this.width !== undefined) {
    throw new OpError("write", "an archive to a terminal", {
      code: ErrorCode.io,
      advice: "Name a file: twill inspect bundle -w FILE",
    });
  }
  if (flags.showCommands) {
    this.process.stderr.write(ANSWERS.map(([line]) => `$ twill inspect ${line}\n`).join(""));
  }
  const parts = [
    ...files(this, flags),
    ...await rules(this),
    ...await daemon(this, flags),
    ...await answers(this, flags),
  ].map(({ name, text }) => ({ name, text: redact(text) }));
  const entries = [{ name: "README", text: readme(at, parts) }, ...parts];
  const archive = tar(
    entries.map(({ name, text }) => ({ name: `${folder}/${name}`, text })),
    this.now() / 1000,
  );
  const packed = new Blob([archive]).stream().pipeThrough(new CompressionStream("gzip"));
  const bytes = await new Response(packed).bytes();
  this.save(path, bytes);
  this.process.stderr.write(
    `${path === "-" ? "Written" : `Wrote ${path}`}: ${entries.length} files, ${
      Math.ceil(bytes.length / 1024)
    } KiB. Secrets are removed; addresses and names are in it.\n`,
  );
  this.process.exitCode = Exit.fine;
}

function readme(at: Date, parts: readonly Entry[]): string {
  return [
    `${versionLine()}, ${at.toISOString()}`,
    "",
    `Made by twill inspect bundle. ${REMOVED} stands where a password, token or key was.`,
    "answers/NAME.FORM is what the command printed, and .notes what it said on stderr, with its",
    "exit code: 0 fine, 1 something is wrong, 3 cannot tell.",
    "",
    ...parts.map(({ name }) => name),
    "",
  ].join("\n");
}

/** What stands in files; what cannot be read says why. */
function files(context: InspectContext, flags: PlaceFlags): Entry[] {
  const paths = [flags.subnetFile, snapshotPath(flags), ...FILES, ...networks(context)];
  return paths.flatMap((path): Entry[] => {
    const name = `files${path.startsWith("/") ? "" : "/"}${path}`.slice(-80);
    try {
      return [{ name, text: context.readFile(path) }];
    } catch (e) {
      if (e instanceof Deno.errors.NotFound) return [];
      return [{ name, text: `cannot be read: ${messageOf(e)}\n` }];
    }
  });
}

/** Networks, but not the kubeconfigs that some plugins keep beside them. */
function networks({ list }: InspectContext): string[] {
  try {
    return list(NETWORKS).filter((name) => /\.(?:conf|conflist|json)$/.test(name))
      .map((name) => `${NETWORKS}/${name}`);
  } catch {
    return [];
  }
}

async function rules(context: InspectContext): Promise<Entry[]> {
  try {
    const { nft, legacy } = (await context.ruleTools()).read();
    return [
      { name: "rules/nft.txt", text: nft },
      ...Object.entries(legacy).map(([family, text]) => ({
        name: `rules/iptables-legacy-${family}.txt`,
        text,
      })),
    ];
  } catch (e) {
    return [{ name: "rules/nft.txt", text: `cannot be read: ${messageOf(e)}\n` }];
  }
}

async function daemon(context: InspectContext, flags: PlaceFlags): Promise<Entry[]> {
  const pages = [["/status", "status.json"], ["/metrics", "metrics.txt"]] as const;
  const told = await Promise.all(pages.map(async ([page, name]) => ({
    name: `daemon/${name}`,
    text: await context.ask(statusSocket(flags), page) ?? "the daemon does not answer\n",
  })));
  return told;
}

async function answers(context: InspectContext, flags: PlaceFlags): Promise<Entry[]> {
  const places = [
    `--subnet-file=${flags.subnetFile}`,
    `--state-dir=${flags.stateDir}`,
    ...flags.instance === undefined ? [] : [`--instance=${flags.instance}`],
  ];
  const entries: Entry[] = [];
  for (const [line, forms] of ANSWERS) {
    const [name = "", ...words] = line.split(" ");
    for (const form of forms) {
      const { out, err, code } = await answer(context, [name, ...words, "-o", form, ...places]);
      const extension = ["table", "wide", "text"].includes(form) ? "txt" : form;
      entries.push({ name: `answers/${name}.${extension}`, text: out });
      if (form === forms[0]) {
        entries.push({ name: `answers/${name}.notes`, text: `exit code ${code}\n${err}` });
      }
    }
  }
  return entries;
}

/** One command, as if it were called on its own, its lines as wide as they are. */
async function answer(
  context: InspectContext,
  args: readonly string[],
): Promise<{ readonly out: string; readonly err: string; readonly code: number }> {
  const { width: _, ...rest } = context;
  let [out, err] = ["", ""];
  const process = {
    stdout: { write: (text: string) => void (out += text) },
    stderr: { write: (text: string) => void (err += text) },
  };
  const code = await runInspect(args, { ...rest, process, colour: false });
  return { out, err, code };
}
