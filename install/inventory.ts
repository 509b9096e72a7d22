/**
 * The inventory: everything on a node that uninstall may have to do with, as data. Reading it
 * changes nothing; what is to go is decided elsewhere.
 *
 * @module
 */

import { PLUGIN_NAMES } from "../cni/names.ts";
import type { Fact } from "../engine/fact.ts";
import { messageOf, OpError } from "../engine/errors.ts";
import { type Network, networkOf, STOCK_NETWORK } from "./conflist.ts";
import type { InstallContext, NodeKernel, Process } from "./context.ts";
import {
  CNI_STATE,
  CONFLIST,
  DEFAULT_BIN_DIR,
  DEFAULT_CONF_DIR,
  dirOf,
  nameOf,
  PROGRAM,
  RUN_DIRS,
  SAVED,
  STATE_DIR,
  SUBNET_FILE,
  UNIT_FILE,
  UNIT_WANTED,
} from "./layout.ts";
import { readInfo, readNames, readReceipt, readText } from "./read.ts";
import type { Receipt } from "./receipt.ts";
import { systemdRuns } from "./systemd.ts";
import type { UninstallFlags } from "./uninstall.ts";

/** One thing of the file system. */
export type Entry =
  | { readonly kind: "file"; readonly text?: string }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "directory"; readonly names: readonly string[] };

/** The rules of one variant of iptables and one family. */
export interface IptablesView {
  /** `iptables`, `ip6tables-legacy`, … */
  readonly program: string;
  /** nft's name of the family whose tables it fills; absent for the legacy variant. */
  readonly nft?: "ip" | "ip6";
  /** What `…-save` printed. */
  readonly save: string;
}

/** The network state of the node. */
export interface NodeState {
  /** All links with their ports, and the main routes. */
  readonly facts: readonly Fact[];
  /** Names of all nft tables: `inet twill`. */
  readonly tables: readonly string[];
  /** Listings, with handles, of the tables that several networks share. */
  readonly shared: ReadonlyMap<string, string>;
  readonly iptables: readonly IptablesView[];
  readonly processes: readonly Process[];
  readonly systemd: boolean;
}

/** Everything. */
export interface Inventory {
  readonly receipt?: Receipt;
  readonly binDirs: readonly string[];
  readonly confDirs: readonly string[];
  /** What there is under the paths that matter; absent ones are not in it. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** The network of our list. */
  readonly network: Network;
  /** Containers that hold an address of it. */
  readonly containers: ReadonlySet<string>;
  /** Text of the subnet file. */
  readonly subnetEnv: string;
  /** Absent when only files are looked at. */
  readonly node?: NodeState;
}

/** nft tables that our plugins share with those of other networks. */
export const SHARED_TABLES: readonly string[] = [
  "ip cni_hostport",
  "ip6 cni_hostport",
  "inet cni_plugins_masquerade",
];

/** Reads everything. @param warn is told what could not be read, and why @throws {OpError} */
export async function takeInventory(
  context: InstallContext,
  flags: UninstallFlags,
  warn: (line: string) => void,
): Promise<Inventory> {
  const { root } = flags;
  const receipt = readReceipt(root, warn);
  const placed = receipt?.placed.map(({ path }) => path) ?? [];
  const dirsOf = (name: string, flag: string | undefined, usual: string): readonly string[] => {
    if (flag !== undefined) return [flag];
    const known = placed.filter((path) => nameOf(path) === name).map(dirOf);
    return known.length === 0 ? [usual] : known;
  };
  const binDirs = dirsOf(PROGRAM, flags.cniBinDir, DEFAULT_BIN_DIR);
  const confDirs = dirsOf(CONFLIST, flags.cniConfDir, DEFAULT_CONF_DIR);

  const entries = new Map<string, Entry>();
  const see = (path: string): Entry | undefined => {
    const entry = readEntry(root, path);
    if (entry !== undefined) entries.set(path, entry);
    return entry;
  };
  const lists = confDirs.map((dir) => `${dir}/${CONFLIST}`);
  const files = [
    ...placed,
    ...binDirs.flatMap((dir) => [PROGRAM, ...PLUGIN_NAMES].map((name) => `${dir}/${name}`)),
    ...lists,
    UNIT_FILE,
  ];
  for (const path of files) for (const one of [path, `${path}${SAVED}`]) see(one);
  const network = lists.flatMap((path) => networkOf(textOf(entries.get(path))) ?? [])[0] ??
    STOCK_NETWORK;
  const addresses = `${CNI_STATE.networks}/${network.name}`;
  const dirs = [...files.map(dirOf), ...receipt?.absent ?? [], ...RUN_DIRS];
  for (const path of [...dirs, STATE_DIR, CNI_STATE.flannel, addresses, UNIT_WANTED]) see(path);

  return {
    ...(receipt === undefined ? {} : { receipt }),
    binDirs,
    confDirs,
    entries,
    network,
    containers: readContainers(root, addresses),
    subnetEnv: readText(root, SUBNET_FILE) ?? "",
    ...(root === "/" ? { node: await readNode(context, warn) } : {}),
  };
}

/** The text of an entry; empty for one without. */
export function textOf(entry: Entry | undefined): string {
  return entry?.kind === "file" ? entry.text ?? "" : "";
}

/** Programs are large, and nothing in them is of interest; the plugins' client has some KiB. */
export const LARGEST_TEXT = 1 << 16;

function readEntry(root: string, path: string): Entry | undefined {
  const info = readInfo(root, path);
  if (info === undefined) return undefined;
  if (info.isSymlink) return { kind: "link", target: readLink(root, path) };
  if (info.isDirectory) return { kind: "directory", names: readNames(root, path) ?? [] };
  const text = info.isFile && info.size <= LARGEST_TEXT ? readText(root, path) : undefined;
  return { kind: "file", ...(text === undefined ? {} : { text }) };
}

function readLink(root: string, path: string): string {
  return Deno.readLinkSync(root === "/" ? path : `${root}${path}`);
}

/** The first line of each file that is called by an address names the container. */
function readContainers(root: string, dir: string): ReadonlySet<string> {
  const files = (readNames(root, dir) ?? []).filter((name) =>
    /^[0-9a-fA-F][0-9a-fA-F.:]*$/.test(name)
  );
  const owners = files.map((name) => readText(root, `${dir}/${name}`)?.split(/[\r\n]/)[0] ?? "");
  return new Set(owners.filter((owner) => owner !== ""));
}

async function readNode(
  context: InstallContext,
  warn: (line: string) => void,
): Promise<NodeState> {
  using kernel = await context.open();
  const facts = kernel.read({ links: "all", routes: true });
  const tables = readTables(kernel, warn);
  const shared = SHARED_TABLES.filter((table) => tables.includes(table));
  return {
    facts,
    tables,
    shared: new Map(shared.map((table) => [table, kernel.nft(`list table ${table}\n`, true)])),
    iptables: readIptables(context),
    processes: context.processes(),
    systemd: systemdRuns("/"),
  };
}

/** The names of all nft tables: `inet twill`. @throws {OpError} when nft cannot run */
export function tablesOf(kernel: NodeKernel): string[] {
  const lines = kernel.nft("list tables\n").split("\n");
  return lines.flatMap((line) => /^table (\S+ \S+)$/.exec(line)?.[1] ?? []);
}

/** A node where nft cannot run has no tables of nft's. */
function readTables(kernel: NodeKernel, warn: (line: string) => void): string[] {
  try {
    return tablesOf(kernel);
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
    warn(`nft tables are not looked at: ${messageOf(e)}`);
    return [];
  }
}

/**
 * Every variant by its own name, where it has one: rules of both can be in force. Without `-t`,
 * `iptables-legacy-save` shows the tables that the kernel has, and makes it load none.
 */
function readIptables({ run }: InstallContext): IptablesView[] {
  return (["ip", "ip6"] as const).flatMap((family) => {
    const view = (program: string, nft: boolean): IptablesView[] => {
      const saved = run(`${program}-save`, []);
      if (saved?.code !== 0) return [];
      return [{ program, ...(nft ? { nft: family } : {}), save: saved.stdout }];
    };
    const named = [
      ...view(`${family}tables-nft`, true),
      ...view(`${family}tables-legacy`, false),
    ];
    if (named.length > 0) return named;
    const program = `${family}tables`;
    return view(program, run(program, ["--version"])?.stdout.includes("nf_tables") ?? false);
  });
}
