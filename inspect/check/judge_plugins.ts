/**
 * What a container runtime finds when it starts a pod: the network's file, the plugins that it
 * names, and free addresses. Pure.
 *
 * @module
 */

import { bounds, contains, familyOf, lengthOf, networkOf } from "../../engine/ip.ts";
import type { Finding } from "../finding.ts";
import { judged, together, unknown, type Verdict } from "./verdict.ts";
import type { ConfigFile, NodeView } from "./view.ts";

/** What a network's file says, as far as it matters here. */
export interface Network {
  readonly name: string;
  /** Types of the plugins, in order. */
  readonly types: readonly string[];
}

/** Reads a network's file, or says why it is none. */
export function readNetwork(text: string): Network | string {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (e) {
    return (e as Error).message;
  }
  if (typeof list !== "object" || list === null) return "it is no JSON object";
  const { name, plugins, type } = list as Readonly<Record<string, unknown>>;
  const all = Array.isArray(plugins) ? plugins : type === undefined ? [] : [{ type }];
  const types = all.map((plugin) => String((plugin as { type?: unknown } | null)?.type ?? ""));
  if (types.length === 0) return "it names no plugin";
  return { name: typeof name === "string" ? name : "", types };
}

/** Names of the files that a runtime reads, in its order (containerd; CRI-O does the same). */
export function configNames(names: readonly string[]): string[] {
  return names.filter((name) => /\.(?:conf|conflist|json)$/.test(name)).sort();
}

/** All three. */
export function judgePlugins(view: NodeView): Verdict {
  return together(configuration(view), plugins(view), addresses(view));
}

/** The name under which flannel's manifest and `twill install` put theirs. */
const OURS = "10-flannel.conflist";

function isOurs({ text }: ConfigFile): boolean {
  const network = readNetwork(text);
  return typeof network !== "string" && network.types.includes("flannel");
}

function configuration({ configs, confDir, installed }: NodeView): Verdict {
  const name = "cni-config";
  if (configs.kind === "unknown") return unknown(name, configs.why);
  const files = configs.kind === "known" ? configs.value : [];
  const [first] = files;
  const ours = files.find(isOurs);
  if (!installed) {
    const before = files.filter((file) => file.name < OURS);
    return judged(
      name,
      files.length === 0
        ? `${confDir} has no network yet`
        : `${confDir} has ${files.map((file) => file.name).join(", ")}, behind ours`,
      before.map((file) => foreign(file, confDir, OURS)),
    );
  }
  if (first === undefined) {
    return judged(name, "", [{
      id: "no-conflist",
      subject: confDir,
      short: "no network configuration",
      what: "there is no file of a network in it",
      breaks: "the runtime calls the node NotReady (NetworkPluginNotReady) and starts no pod",
      fix: "put it there:",
      command: "twill install",
    }]);
  }
  const findings: Finding[] = [];
  const network = readNetwork(first.text);
  if (typeof network === "string") {
    findings.push({
      id: "bad-conflist",
      subject: `${confDir}/${first.name}`,
      short: "cannot be read",
      what: `the file that the runtime takes is damaged: ${network}`,
      breaks: "no pod can be started here, or the runtime takes the next file",
      fix: "correct or remove it; ours is written again by:",
      command: "twill install",
    });
  } else if (!isOurs(first)) {
    findings.push(foreign(first, confDir, ours?.name));
  }
  return judged(name, `${confDir}/${first.name} is the first, and the one that is taken`, findings);
}

function foreign({ name, text }: ConfigFile, dir: string, ours: string | undefined): Finding {
  const network = readNetwork(text);
  const types = typeof network === "string" ? "?" : network.types.join(", ");
  return {
    id: "foreign-conflist",
    subject: `${dir}/${name}`,
    short: "a foreign network comes first",
    what: ours === undefined
      ? `the runtime takes this file, of plugins ${types}; there is none with the plugin flannel`
      : `it is sorted before ${ours}, so the runtime takes it and its plugins: ${types}`,
    breaks: "new pods join that other network: they get other addresses, and reach no pod of ours",
    fix: "if that network was to be replaced, remove its file, then delete the pods that it made:",
    command: `rm ${dir}/${name}`,
  };
}

/** The delegates that the plugin flannel calls unless its section says otherwise. */
const DELEGATES: Readonly<Record<string, readonly string[]>> = {
  flannel: ["bridge", "host-local"],
  bridge: [],
};

function plugins({ configs, plugins: found, binDirs, installed }: NodeView): Verdict {
  const name = "cni-plugins";
  if (!installed || configs.kind !== "known") return together();
  const file = configs.value.find(isOurs);
  const network = file === undefined ? undefined : readNetwork(file.text);
  if (network === undefined || typeof network === "string") return together();
  if (found.kind === "unknown") return unknown(name, found.why);
  const have = found.kind === "known" ? found.value : [];
  const needed = new Set([
    ...network.types.flatMap((type) => [type, ...DELEGATES[type] ?? []]),
    "loopback",
  ]);
  const missing = [...needed].filter((type) => !have.includes(type));
  const where = binDirs.join(" or ");
  return judged(
    name,
    `${[...needed].join(", ")} are in ${where}`,
    missing.map((type) => ({
      id: "no-plugin",
      subject: type,
      short: `no plugin ${type}`,
      what: `there is no file ${type} in ${where}, though ${file!.name} needs it`,
      breaks: `no pod can be started here: failed to find plugin "${type}"`,
      fix: "twill has all of them inside, and puts them there:",
      command: "twill install",
    })),
  );
}

function addresses(view: NodeView): Verdict {
  const name = "addresses";
  const { reserved, overlay, networksDir } = view;
  if (!view.installed || overlay.subnets.length === 0) return together();
  if (reserved.kind === "unknown") return unknown(name, reserved.why);
  const taken = reserved.kind === "known" ? reserved.value : [];
  const ports =
    overlay.facts.filter((fact) => fact.kind === "port" && fact.bridge === overlay.bridge?.name)
      .length;
  const said: string[] = [];
  const findings = overlay.subnets.flatMap((inet): Finding[] => {
    const subnet = networkOf(inet);
    const { first, last } = bounds(subnet);
    // Not the base, not the gateway, and in IPv4 not the broadcast address.
    const room = last - first + 1n - (familyOf(inet) === 4 ? 3n : 2n);
    const used = taken.filter((ip) => contains(subnet, ip) && ip !== inet.split("/")[0]).length;
    said.push(`${used} of ${lengthOf(subnet) < 100 ? room : "very many"} in ${subnet}`);
    if (BigInt(used) < room) return [];
    const leaked = used - ports;
    return [{
      id: "ipam-full",
      subject: subnet,
      short: "no address is free",
      what: `all ${used} addresses are reserved in ${networksDir}; ${ports} pod interfaces are ` +
        `plugged in${leaked > 0 ? `, so at least ${leaked} reservations belong to no pod` : ""}`,
      breaks: `no pod can be started here: "no IP addresses available in range set"`,
      fix: leaked > 0
        ? "drain the node, then remove the files of that directory that belong to no pod (each " +
          "holds a container's ID); a runtime's garbage collection (GC) does the same:"
        : "move pods to other nodes, or give nodes larger subnets (SubnetLen)",
      ...(leaked > 0 ? { command: `ls -l ${networksDir}` } : {}),
    }];
  });
  return judged(name, `${said.join(", ")} are reserved`, findings);
}
