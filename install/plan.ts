/**
 * From the inventory of a node to what uninstall does. Pure.
 *
 * Order: first the unit and the network's file, so that nothing new begins; then the data plane and
 * its state; then the program; last the receipt, which a second attempt would need.
 *
 * @module
 */

import { isKnownConflist } from "./conflist.ts";
import type { Entry, Inventory } from "./inventory.ts";
import { textOf } from "./inventory.ts";
import {
  CLIENT_MARK,
  CNI_STATE,
  CONFLIST,
  dirOf,
  nameOf,
  PROGRAM,
  RUN_DIRS,
  SAVED,
  STATE_DIR,
  UNIT_FILE,
  UNIT_WANTED,
} from "./layout.ts";
import { DRAFT_MARK } from "./place.ts";
import { flanneldOf, planNode } from "./plan_node.ts";
import type { Removal, RemovalPlan } from "./removal.ts";
import { UNIT_MARK } from "./unit.ts";

/** What is to be done. @param force pods may lose their network */
export function planRemoval(inventory: Inventory, force: boolean): RemovalPlan {
  const { node, entries } = inventory;
  const data = node === undefined ? nothing : planNode(inventory, node, force);
  const flannelRuns = node !== undefined && flanneldOf(node) !== undefined;
  const { removals: files, kept } = planFiles(inventory, flannelRuns);
  const isList = (step: Removal): boolean => "path" in step && nameOf(step.path) === CONFLIST;
  const hasUnit = files.some((step) => "path" in step && step.path === UNIT_FILE);

  const state = stateDirs(inventory, flannelRuns)
    .filter((path) => entries.get(path)?.kind === "directory")
    .map((path) => ({ kind: "tree", path }) as const);
  const steps: Removal[] = [
    ...(hasUnit && node?.systemd === true ? [{ kind: "unit" } as const] : []),
    ...files.filter(isList),
    ...data.removals,
    ...state.filter(({ path }) => path !== STATE_DIR),
    ...files.filter((step) => !isList(step)),
    // systemctl has done this, where there is one.
    ...(hasUnit && node?.systemd !== true && entries.has(UNIT_WANTED)
      ? [{ kind: "file", path: UNIT_WANTED } as const]
      : []),
    ...state.filter(({ path }) => path === STATE_DIR),
  ];
  return {
    removals: [...steps, ...emptyDirs(inventory, steps)],
    kept: [...kept, ...data.kept],
    blockers: data.blockers,
  };
}

const nothing: RemovalPlan = { removals: [], kept: [], blockers: [] };

function stateDirs({ network }: Inventory, flannelRuns: boolean): string[] {
  const own = [...RUN_DIRS.filter((dir) => dir.endsWith("/twill")), STATE_DIR];
  if (flannelRuns) return own;
  return [...RUN_DIRS, CNI_STATE.flannel, `${CNI_STATE.networks}/${network.name}`, STATE_DIR];
}

/** Whose a file is. */
type Owner = "ours" | "foreign" | "nobody's";

function planFiles(
  inventory: Inventory,
  flannelRuns: boolean,
): Pick<RemovalPlan, "removals" | "kept"> {
  const { entries, binDirs, confDirs } = inventory;
  const removals: Removal[] = [];
  const kept: string[] = [];
  const paths = [...entries].flatMap(([path, { kind }]) =>
    kind === "directory" || path === UNIT_WANTED
      ? []
      : [path.endsWith(SAVED) ? path.slice(0, -SAVED.length) : path]
  );
  for (const path of new Set(paths)) {
    const saved = entries.has(`${path}${SAVED}`);
    if (nameOf(path) === CONFLIST && flannelRuns && !saved && entries.has(path)) {
      kept.push(`file ${path}: flanneld runs and needs it`);
      continue;
    }
    const owner = ownerOf(path, inventory);
    if (owner === "foreign") {
      const and = saved ? `; ${nameOf(path)}${SAVED} beside it is from before the install` : "";
      kept.push(`file ${path}: it is not what twill put there${and}`);
    } else if (saved) {
      removals.push({ kind: "restore", path });
    } else if (owner === "ours") {
      removals.push({ kind: "file", path });
    }
  }
  const drafts = [...binDirs, ...confDirs, dirOf(UNIT_FILE)].flatMap((dir) => {
    const entry = entries.get(dir);
    return entry?.kind === "directory"
      ? entry.names.filter((name) => name.startsWith(".") && name.includes(DRAFT_MARK))
        .map((name) => `${dir}/${name}`)
      : [];
  });
  return {
    removals: [...removals, ...drafts.map((path) => ({ kind: "file", path }) as const)],
    kept,
  };
}

/** Only what was put there by us goes; without a receipt, what nobody else would have put there. */
function ownerOf(path: string, { entries, receipt, binDirs }: Inventory): Owner {
  const entry = entries.get(path);
  if (entry === undefined) return "nobody's";
  const placed = receipt?.placed.some((one) => one.path === path) ?? false;
  const isOurs = ((): boolean => {
    switch (nameOf(path)) {
      case PROGRAM:
        return placed || receipt === undefined && hasPlugins(dirOf(path), entries);
      case CONFLIST:
        return placed || receipt === undefined && isKnownConflist(textOf(entry)) &&
            binDirs.some((dir) => hasPlugins(dir, entries));
      default:
        if (path === UNIT_FILE) return placed || textOf(entry).startsWith(UNIT_MARK);
        return isPlugin(entry);
    }
  })();
  if (isOurs) return "ours";
  // A plugin of another program that nobody asked about is none of our business.
  return placed || entries.has(`${path}${SAVED}`) ? "foreign" : "nobody's";
}

function hasPlugins(dir: string, entries: ReadonlyMap<string, Entry>): boolean {
  return [...entries].some(([path, entry]) => dirOf(path) === dir && isPlugin(entry));
}

/** A plugin as some version of install leaves it: a copy of the client, or a link to the program. */
function isPlugin(entry: Entry): boolean {
  return entry.kind === "link" ? entry.target === PROGRAM : textOf(entry).includes(CLIENT_MARK);
}

/** Directories that came with the install and that the other steps leave empty, lowest first. */
function emptyDirs({ receipt, entries }: Inventory, steps: readonly Removal[]): Removal[] {
  const gone = new Set(steps.flatMap((step) => {
    switch (step.kind) {
      case "file":
      case "tree":
      case "directory":
        return [step.path];
      case "restore":
        return [`${step.path}${SAVED}`];
      case "unit":
        return [UNIT_WANTED];
      case "kernel":
      case "nft":
      case "emptyTable":
      case "iptables":
        return [];
    }
  }));
  const candidates = [...receipt?.absent ?? []].sort((a, b) => b.length - a.length);
  return candidates.flatMap((path): Removal[] => {
    const entry = entries.get(path);
    if (entry?.kind !== "directory" || gone.has(path)) return [];
    if (!entry.names.every((name) => gone.has(`${path}/${name}`))) return [];
    gone.add(path);
    return [{ kind: "directory", path }];
  });
}
