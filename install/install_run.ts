/**
 * `twill install`: looks at what is there, decides, and then does all of it or nothing.
 *
 * @module
 */

import { PLUGIN_NAMES } from "../cni/names.ts";
import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { sha512 } from "../engine/sha512.ts";
import { chosenConfig, conflistText } from "./conflist.ts";
import { type InstallContext, UsageError } from "./context.ts";
import type { InstallFlags } from "./install.ts";
import { LARGEST_TEXT, tablesOf } from "./inventory.ts";
import {
  below,
  CLIENT_MARK,
  CNI_STATE,
  CONFLIST,
  dirOf,
  nameOf,
  PROGRAM,
  RECEIPT,
  RUN_DIRS,
  SAVED,
  STATE_DIR,
  UNIT,
  UNIT_FILE,
  withParents,
} from "./layout.ts";
import { type Content, type Found, look, Placer } from "./place.ts";
import { type Placed, type Receipt, receiptText } from "./receipt.ts";
import { checkRoot, readInfo, readNames, readReceipt, readText } from "./read.ts";
import { systemctl, systemdRuns } from "./systemd.ts";
import { checkFlags, unitText, whoWrites } from "./unit.ts";

/** What becomes of one file. */
interface Item {
  readonly path: string;
  readonly content: Content;
  readonly found: Found;
  /** What is there is somebody else's: kept beside. */
  readonly save: boolean;
  /** What is there stays, and why. */
  readonly stays?: string;
  /** Goes into the receipt. */
  readonly ours: boolean;
}

/** Does it. @throws {OpError | UsageError} and then nothing has changed */
export async function run(this: InstallContext, flags: InstallFlags): Promise<void> {
  const { root } = flags;
  const program = check(this, flags);
  const say = (line: string): void => this.process.stdout.write(`${line}\n`);
  const warn = (line: string): void => this.process.stderr.write(`warning: ${line}\n`);

  const old = readReceipt(root, warn);
  const list = `${flags.cniConfDir}/${CONFLIST}`;
  const known = old?.placed.find(({ path }) => path === list);
  const foreign = known === undefined && readInfo(root, list) !== undefined;
  const edited = known !== undefined && isEdited(root, known);
  const { daemonFlags, later } = whoWrites(this.behind ?? [], list, flags, edited);
  const all = wanted(flags, program, daemonFlags, this.client);
  const items = all.filter(({ path }) => !later || path !== list)
    .map((one) => judge(root, old, one));
  // Another list goes on until the daemon replaces it, and comes back with uninstall.
  const saves = later && (foreign || edited);
  if (flags.dryRun) {
    tellPlan(items, later ? list : undefined, saves, say);
    return;
  }
  const receipt = await newReceipt(this, flags, old, items, later ? [{ path: list }] : []);
  const systemd = flags.systemd && systemdRuns(root);

  using placer = new Placer(root);
  placer.makeDirectory(STATE_DIR, 0o700);
  for (const { path } of all) placer.makeDirectory(dirOf(path));
  const text = receiptText(receipt);
  const steps = [
    { path: RECEIPT, content: { kind: "text", text, mode: 0o600 } as const, save: false },
    ...items.filter(({ found, stays }) => found !== "same" && stays === undefined),
  ].map((item) => ({ ...item, put: placer.stage(item.path, item.content) }));
  const [conflist, others] = [
    steps.filter(({ path }) => nameOf(path) === CONFLIST),
    steps.filter(({ path }) => nameOf(path) !== CONFLIST),
  ];
  const unit = items.find(({ path }) => path === UNIT_FILE);
  if (systemd && unit !== undefined) deferReload(this, placer, unit);
  if (saves) placer.saveCopy(list);
  for (const { put, save } of others) put(save);
  placer.sync();
  if (systemd) start(this, placer, unit?.found === "absent", others.length > 1);
  // From now on a runtime starts pods with it.
  for (const { put, save } of conflist) put(save);
  placer.keep();

  for (const line of items.flatMap(told)) say(line);
  if (saves) say(`kept       ${list} (also as ${CONFLIST}${SAVED}, until twill goes)`);
  if (steps.length === 1) say("Everything was in its place already");
  if (later) say(`The daemon writes ${list} as soon as this node is ready for pods`);
  advise(this, flags, systemd, say, warn);
}

/** What would be done. */
function tellPlan(
  items: readonly Item[],
  later: string | undefined,
  saves: boolean,
  say: (line: string) => void,
): void {
  const lines = items.flatMap(told);
  say(lines.length === 0 ? "Everything is in its place already" : "These would be placed:");
  for (const line of lines) say(line);
  if (later === undefined) return;
  say(`later      ${later} (by the daemon${saves ? `; what is there is kept beside` : ""})`);
}

/** All that can be refused before anything is looked at. */
function check(
  { uid, program, behind }: InstallContext,
  { root, systemd }: InstallFlags,
): string {
  if (behind !== undefined && !systemd) {
    throw new UsageError("flags behind -- are for the unit: add --systemd, or leave them out");
  }
  if (systemd) checkFlags(behind ?? []);
  if (program === undefined) {
    throw new OpError("install", "a program that was started from its sources", {
      code: ErrorCode.program,
      advice: "Build it with tools/build, then run dist/twill install",
    });
  }
  if (root === "/" && uid !== 0) {
    throw new OpError("install on", "this node", {
      code: ErrorCode.io,
      kernel: `uid ${uid} is not root`,
      advice: "Run it with sudo, or fill another tree with --root",
    });
  }
  checkRoot(root);
  return program;
}

/** All files, in the order in which they are placed: the network last. */
function wanted(
  { cniBinDir, cniConfDir, systemd }: InstallFlags,
  program: string,
  daemonFlags: readonly string[],
  client: Uint8Array<ArrayBuffer> | undefined,
): { readonly path: string; readonly content: Content }[] {
  const installed = `${cniBinDir}/${PROGRAM}`;
  const unit = (): Content => ({
    kind: "text",
    text: unitText(installed, daemonFlags),
    mode: 0o644,
  });
  return [
    { path: installed, content: { kind: "copy", from: program, mode: 0o755 } },
    ...PLUGIN_NAMES.map((name) => ({
      path: `${cniBinDir}/${name}`,
      content: client === undefined
        ? { kind: "link", target: PROGRAM } as const
        : { kind: "bytes", bytes: client, mode: 0o755 } as const,
    })),
    ...(systemd ? [{ path: UNIT_FILE, content: unit() }] : []),
    {
      path: `${cniConfDir}/${CONFLIST}`,
      content: { kind: "text", text: conflistText(), mode: 0o644 },
    },
  ];
}

/** What becomes of one place. */
function judge(
  root: string,
  old: Receipt | undefined,
  { path, content }: { readonly path: string; readonly content: Content },
): Item {
  const found = look(below(root, path), content);
  const before = old?.placed.find((one) => one.path === path);
  const isNetwork = nameOf(path) === CONFLIST;
  const item = { path, content, found, save: false, ours: true };
  if (found === "same") {
    // Nobody else would have written the other files; this one may be flannel's own.
    return before === undefined && isNetwork
      ? { ...item, ours: false, stays: "was there before, and stays when twill goes" }
      : item;
  }
  if (found === "absent") return item;
  if (before === undefined) return { ...item, save: true };
  return isEdited(root, before)
    ? { ...item, stays: "was edited since it was installed, and stays" }
    : { ...item, save: isForeign(root, path, content) };
}

/** Somebody has changed a text of ours since it was placed. */
function isEdited(root: string, { path, sha512: before }: Placed): boolean {
  const text = before === undefined ? undefined : readText(root, path);
  return text !== undefined && sha512(text) !== before;
}

/** Another program put a file where a plugin of ours was: it is newer than what we have kept. */
function isForeign(root: string, path: string, { kind }: Content): boolean {
  if (kind !== "link" && kind !== "bytes") return false;
  const place = below(root, path);
  const { isSymlink, size } = Deno.lstatSync(place);
  if (isSymlink) return Deno.readLinkSync(place) !== PROGRAM;
  return size > LARGEST_TEXT || !Deno.readTextFileSync(place).includes(CLIENT_MARK);
}

async function newReceipt(
  context: InstallContext,
  flags: InstallFlags,
  old: Receipt | undefined,
  items: readonly Item[],
  later: readonly Placed[],
): Promise<Receipt> {
  const { root } = flags;
  const mine = items.filter(({ ours }) => ours).map(({ path, content, stays }): Placed => {
    const before = old?.placed.find((one) => one.path === path);
    if (stays !== undefined && before !== undefined) return before;
    // The unit is always as the flags say; drop-ins are the place for more.
    return content.kind === "text" && path !== UNIT_FILE
      ? { path, sha512: sha512(content.text) }
      : { path };
  }).concat(later);
  const others = old?.placed.filter(({ path }) => !mine.some((one) => one.path === path)) ?? [];
  const dirs = [
    ...[...items, ...later].map(({ path }) => dirOf(path)),
    ...[STATE_DIR, ...Object.values(CNI_STATE), ...RUN_DIRS],
  ].flatMap(withParents);
  const missing = dirs.filter((dir) => readNames(root, dir) === undefined);
  const tables = old === undefined ? await nftTables(context, root) : old.tables;
  return {
    schema: 1,
    twill: context.version,
    placed: [...others, ...mine],
    absent: [...new Set([...old?.absent ?? [], ...missing])],
    ...(tables === undefined ? {} : { tables }),
  };
}

/** The nft tables of this node; undefined when nobody can tell. */
async function nftTables(
  { open }: InstallContext,
  root: string,
): Promise<readonly string[] | undefined> {
  if (root !== "/") return undefined;
  try {
    using kernel = await open();
    return tablesOf(kernel);
  } catch {
    return undefined;
  }
}

/** When the unit is taken back: systemd learns of it, and an earlier daemon runs on. */
function deferReload(context: InstallContext, placer: Placer, { found }: Item): void {
  placer.defer(() => {
    systemctl(context, "daemon-reload");
    if (found !== "absent") systemctl(context, "restart", "--no-block", UNIT);
  });
}

/** Starts the daemon, now and at every boot; one that runs is restarted when something changed. */
function start(context: InstallContext, placer: Placer, isNew: boolean, changed: boolean): void {
  if (isNew) placer.defer(() => systemctl(context, "disable", "--now", UNIT));
  systemctl(context, "daemon-reload");
  systemctl(context, "enable", UNIT);
  // It is there once the node is ready, which may wait for a store.
  systemctl(context, changed ? "restart" : "start", "--no-block", UNIT);
}

function told({ path, content, found, save, stays }: Item): string[] {
  const what = content.kind === "link" ? `${path} -> ${content.target}` : path;
  if (stays !== undefined) return [`kept       ${path} (${stays})`];
  switch (found) {
    case "same":
      return [];
    case "absent":
      return [`installed  ${what}`];
    case "different":
      return [
        save
          ? `replaced   ${what} (what was there is kept as ${nameOf(path)}${SAVED})`
          : `updated    ${what}`,
      ];
  }
}

/** What the operator must know or do now. */
function advise(
  context: InstallContext,
  { root, cniConfDir, systemd: asked }: InstallFlags,
  started: boolean,
  say: (line: string) => void,
  warn: (line: string) => void,
): void {
  const chosen = chosenConfig([...readNames(root, cniConfDir) ?? [], CONFLIST]);
  if (chosen !== undefined && chosen !== CONFLIST) {
    warn(
      `${cniConfDir}/${chosen} sorts before ${CONFLIST}, so runtimes use that network, not ` +
        `twill's; move it away to change that`,
    );
  }
  if (started) say(`The daemon is started: systemctl status ${UNIT}`);
  else if (asked) {
    say(
      root === "/"
        ? `systemd does not run here; where it does: systemctl enable --now ${UNIT}`
        : `To have the daemon started at boot: systemctl --root=${root} enable ${UNIT}`,
    );
  } else if (root === "/" && !isRunning(context)) {
    say("Pods start once the daemon runs: twill daemon --help");
  }
}

function isRunning(context: InstallContext): boolean {
  try {
    return context.processes().some(({ words }) => words[1] === "daemon");
  } catch (e) {
    throw new OpError("list", "processes", { code: ErrorCode.io, kernel: messageOf(e), cause: e });
  }
}
