/**
 * `twill uninstall`: takes the inventory, plans, says what it does and does it.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { MARK_MASK } from "../engine/policy/frame.ts";
import { policyTable } from "../engine/policy/table.ts";
import { parseListing } from "../engine/rules/nft_listing.ts";
import { Exit, type InstallContext, type NodeKernel } from "./context.ts";
import { tablesOf, takeInventory } from "./inventory.ts";
import { below, nameOf, SAVED, STATE_DIR, UNIT } from "./layout.ts";
import { failure, move, remove } from "./place.ts";
import { planRemoval } from "./plan.ts";
import { checkRoot } from "./read.ts";
import { type Removal, removalText } from "./removal.ts";
import { systemctl } from "./systemd.ts";
import type { UninstallFlags } from "./uninstall.ts";

/** Does it. @throws {OpError} when the node cannot be looked at; then nothing has changed */
export async function run(this: InstallContext, flags: UninstallFlags): Promise<void> {
  const { root, dryRun, force } = flags;
  const { stdout, stderr } = this.process;
  const say = (line: string): void => stdout.write(`${line}\n`);
  const warn = (line: string): void => stderr.write(`warning: ${line}\n`);
  if (root === "/" && this.uid !== 0) {
    throw new OpError("uninstall from", "this node", {
      code: ErrorCode.io,
      kernel: `uid ${this.uid} is not root`,
      advice: "Run it with sudo",
    });
  }
  checkRoot(root);
  const { removals, kept, blockers } = planRemoval(await takeInventory(this, flags, warn), force);
  const refused = blockers.length > 0;
  if (dryRun) {
    say(removals.length === 0 ? "Nothing of twill is here" : "These would go:");
    for (const removal of removals) say(removalText(removal));
  } else if (!refused) {
    say(removals.length === 0 ? "Nothing of twill is here" : "These go:");
    await carryOut(this, root, removals, say, warn);
  }
  for (const line of kept) say(`kept: ${line}`);
  for (const line of blockers) stderr.write(`Cannot uninstall: ${line}\n`);
  if (refused) this.process.exitCode = Exit.failed;
}

/** Each step is tried; the receipt stays while something else does. */
async function carryOut(
  context: InstallContext,
  root: string,
  removals: readonly Removal[],
  say: (line: string) => void,
  warn: (line: string) => void,
): Promise<void> {
  using stack = new DisposableStack();
  const needsKernel = removals.some(({ kind }) => ["kernel", "nft", "emptyTable"].includes(kind));
  const kernel = needsKernel ? stack.use(await context.open()) : undefined;
  let failed = false;
  for (const removal of removals) {
    if (failed && removal.kind === "tree" && removal.path === STATE_DIR) {
      warn(`${STATE_DIR} stays, since something else could not be removed`);
      continue;
    }
    try {
      await doOne(context, root, kernel, removal);
      say(removalText(removal));
    } catch (e) {
      failed = true;
      warn(`${removalText(removal)}: ${messageOf(e)}`);
    }
  }
  if (removals.some(({ kind }) => kind === "unit")) systemctl(context, "daemon-reload");
  if (failed) context.process.exitCode = Exit.failed;
}

async function doOne(
  context: InstallContext,
  root: string,
  kernel: NodeKernel | undefined,
  removal: Removal,
): Promise<void> {
  switch (removal.kind) {
    case "unit":
      return systemctl(context, "disable", "--now", UNIT);
    case "kernel": {
      const [outcome] = kernel?.apply([{ op: "delete", fact: removal.fact }]) ?? [];
      if (outcome?.error !== undefined) throw outcome.error;
      return;
    }
    case "nft":
      kernel?.nft(removal.commands);
      // The table of policies has left marks on the connections that it allowed.
      if (removal.what.includes(policyTable(""))) kernel?.clearMarks(MARK_MASK);
      return;
    case "emptyTable":
      return kernel === undefined ? undefined : dropEmpty(kernel, removal.table);
    case "iptables":
      return await restore(context, removal.program, removal.input);
    case "file":
      return onFile("remove", below(root, removal.path), remove);
    case "restore":
      return onFile("restore", below(root, removal.path), (path) => {
        move(`${path}${SAVED}`, path);
      });
    case "tree":
      return onFile("remove", below(root, removal.path), (path) => {
        Deno.removeSync(path, { recursive: true });
      });
    case "directory":
      return onFile("remove", below(root, removal.path), (path) => Deno.removeSync(path));
  }
}

/**
 * Deletes a table chain by chain: a chain with a rule cannot be deleted, so a rule that comes
 * meanwhile makes all of it fail. (iptables has deleted some of the chains with their last rules.)
 */
function dropEmpty(kernel: NodeKernel, table: string): void {
  if (!tablesOf(kernel).includes(table)) return;
  const chains = [...parseListing(kernel.nft(`list table ${table}\n`, true)).keys()];
  const lines = chains.map((chain) => `delete chain ${table} ${chain}\n`);
  kernel.nft(`${lines.join("")}delete table ${table}\n`);
}

function onFile(deed: string, path: string, work: (path: string) => void): void {
  try {
    work(path);
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw failure(deed, path, e);
  }
}

async function restore({ feed }: InstallContext, program: string, input: string): Promise<void> {
  const name = `${program}-restore`;
  const ran = await feed(name, ["--noflush", "--wait"], input);
  if (ran?.code === 0) return;
  throw new OpError("apply", `rules with ${nameOf(name)}`, {
    code: ErrorCode.program,
    kernel: ran === undefined ? "there is no such program" : ran.stderr.trim(),
  });
}
