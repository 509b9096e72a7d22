/**
 * The impure half of `check`: reads the node, judges nothing.
 *
 * @module
 */

import { makeBackend } from "../../engine/backend/registry.ts";
import { messageOf, OpError } from "../../engine/errors.ts";
import type { Fact } from "../../engine/fact.ts";
import { familyOf, type Ip, parseIp } from "../../engine/ip.ts";
import type { InspectContext, Reader } from "../context.ts";
import { readKeys, readSubnetFile } from "../gather.ts";
import { know, type Knowledge } from "../knowledge.ts";
import { type Overlay, overlayOf, vtepsOf } from "../overlay.ts";
import type { CheckFlags } from "./flags.ts";
import { arrivals, filterKeys, SYSCTLS } from "./judge_kernel.ts";
import { configNames, readNetwork } from "./judge_plugins.ts";
import { ruleChains, TABLES } from "./judge_rules.ts";
import type { ConfigFile, Known, NodeView } from "./view.ts";

/** Reads all that the judges want. @throws {OpError} when the kernel cannot be read */
export async function gatherNode(context: InspectContext, flags: CheckFlags): Promise<NodeView> {
  const file = readSubnetFile(context, flags.subnetFile);
  const knowledge = await know(context, flags);
  const configs = readConfigs(context, flags.confDir);
  const features = await tryFeatures(context, knowledge.leases?.conf.backend.type);
  using kernel = await context.open();
  const facts = kernel.read({ links: "all", addresses: "all", routes: true });
  const devices = vtepsOf(facts).map(({ name }) => name);
  facts.push(...kernel.read({ neighbours: devices, fdb: devices }));
  const overlay = overlayOf(file, facts, readKeys(context, kernel, facts));
  const found = { overlay, known: knowledge };
  const coming = arrivals(found);
  return {
    overlay,
    installed: isInstalled(overlay, configs),
    sysctls: readSysctls(kernel, [...new Set(coming.map(({ dev }) => dev))]),
    features,
    known: knowledge,
    facts: [...facts, ...readRest(kernel, knowledge)],
    rules: readRules(kernel),
    confDir: flags.confDir,
    configs,
    binDirs: flags.binDir.split(":"),
    plugins: readPlugins(context, flags.binDir.split(":")),
    networksDir: networkDir(flags.networksDir, configs),
    reserved: known(() => readReserved(context, networkDir(flags.networksDir, configs))),
    ways: new Map(coming.map(({ from }) => [from, kernel.lookUp("host", { to: from })])),
    now: context.now(),
  };
}

/** What reading gives; what is not there, and what cannot be read, are answers. */
function known<T>(read: () => T): Known<T> {
  try {
    return { kind: "known", value: read() };
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return { kind: "missing" };
    if (e instanceof Deno.errors.PermissionDenied) {
      return { kind: "unknown", why: `${messageOf(e)}; run as root` };
    }
    if (!(e instanceof SyntaxError || e instanceof OpError)) throw e;
    return { kind: "unknown", why: messageOf(e) };
  }
}

async function tryFeatures(
  context: InspectContext,
  backend: string | undefined,
): Promise<NodeView["features"]> {
  const tools = await context.checkTools();
  return known(() => tools.features(backend));
}

function isInstalled(overlay: Overlay, configs: NodeView["configs"]): boolean {
  const files = configs.kind === "known" ? configs.value : [];
  return overlay.file.kind !== "missing" || overlay.vteps.length + overlay.tunnels.length > 0 ||
    files.some(({ text }) => {
      const network = readNetwork(text);
      return typeof network !== "string" && network.types.includes("flannel");
    });
}

function readSysctls(kernel: Reader, devices: readonly string[]): ReadonlyMap<string, string> {
  const facts = kernel.read({ sysctls: [...SYSCTLS, ...filterKeys(devices)] });
  return new Map(facts.flatMap((fact) => fact.kind === "sysctl" ? [[fact.key, fact.value]] : []));
}

/** The settings that the backend wants, which no other command reads. */
function readRest(kernel: Reader, { leases }: Knowledge): Fact[] {
  if (leases === undefined) return [];
  try {
    const { sysctls } = makeBackend(leases.conf).scope();
    return sysctls === undefined ? [] : kernel.read({ sysctls });
  } catch (e) {
    // A backend that this version lacks is told by its judge.
    if (!(e instanceof OpError || e instanceof SyntaxError)) throw e;
    return [];
  }
}

/** Our tables and chains, and flannel's. */
export function readRules(kernel: Reader): NodeView["rules"] {
  return known(() => {
    const tables = kernel.read({ rules: TABLES });
    try {
      return [...tables, ...kernel.read({ chains: ruleChains() })];
    } catch (e) {
      // Without iptables there are no chains of it.
      if (!(e instanceof OpError)) throw e;
      return tables;
    }
  });
}

function readConfigs(context: InspectContext, dir: string): NodeView["configs"] {
  return known(() =>
    configNames(context.list(dir)).map((name): ConfigFile => ({
      name,
      text: context.readFile(`${dir}/${name}`),
    }))
  );
}

function readPlugins(context: InspectContext, dirs: readonly string[]): NodeView["plugins"] {
  const all = dirs.map((dir) => known(() => context.list(dir)));
  return all.find(({ kind }) => kind === "unknown") ?? {
    kind: "known",
    value: all.flatMap((one) => one.kind === "known" ? one.value : []),
  };
}

/** The directory of the addresses of the network with the plugin `flannel`. */
function networkDir(dir: string, configs: NodeView["configs"]): string {
  const files = configs.kind === "known" ? configs.value : [];
  for (const { text } of files) {
    const network = readNetwork(text);
    if (typeof network === "string" || !network.types.includes("flannel")) continue;
    if (/^[a-zA-Z0-9][\w.-]*$/.test(network.name)) return `${dir}/${network.name}`;
  }
  return `${dir}/cbr0`;
}

function readReserved(context: InspectContext, dir: string): Ip[] {
  return context.list(dir).flatMap((name) => {
    try {
      const ip = parseIp(name);
      return familyOf(ip) === 4 || name === ip ? [ip] : [];
    } catch {
      return [];
    }
  });
}
