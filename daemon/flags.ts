/**
 * The daemon's command line: flanneld's flags and variables, in Go's syntax, and a few of our own.
 *
 * One table holds all of it; what a flag may be, its default, its help text and whether this
 * version has it are read from there.
 *
 * @module
 */

import { parseIp, parseIp4, parseIp6 } from "../engine/ip.ts";
import { PAGE_FOR } from "./page_for.ts";

/** One flag. */
interface Spec {
  readonly kind: "text" | "list" | "bool" | "int";
  readonly default: string;
  readonly help: string;
}

/** Every flag by its name. The order is that of the help text. */
export const FLAGS = {
  "etcd-endpoints": {
    kind: "text",
    default: "http://127.0.0.1:4001,http://127.0.0.1:2379",
    help: "etcd servers, separated by commas",
  },
  "etcd-prefix": { kind: "text", default: "/coreos.com/network", help: "etcd key prefix" },
  "etcd-keyfile": { kind: "text", default: "", help: "TLS key of this client, PEM" },
  "etcd-certfile": { kind: "text", default: "", help: "TLS certificate of this client, PEM" },
  "etcd-cafile": {
    kind: "text",
    default: "",
    help: "TLS authority of the etcd servers, PEM; without it those of the system count",
  },
  "etcd-username": {
    kind: "text",
    default: "",
    help: "etcd user; with https:// endpoints only, see --etcd-allow-insecure-auth",
  },
  "etcd-password": {
    kind: "text",
    default: "",
    help: "etcd password; better FLANNELD_ETCD_PASSWORD, which no process list shows",
  },
  "etcd-allow-insecure-auth": {
    kind: "bool",
    default: "false",
    help: "send user and password also to http:// endpoints, where everybody on the way reads them",
  },
  "lease-file": {
    kind: "text",
    default: "",
    help: "static leases from this YAML or JSON file, instead of etcd",
  },
  "instance": {
    kind: "text",
    default: "",
    help: "a name for this daemon when several share the host: suffixes its rule table and state",
  },
  "node-name": {
    kind: "text",
    default: "",
    help: "this node's name in the lease file or the Kubernetes API",
  },
  "iface": {
    kind: "list",
    default: "",
    help:
      "interface for inter-host traffic: a name or an address; may be repeated, first that fits",
  },
  "iface-regex": {
    kind: "list",
    default: "",
    help: "the same by pattern, of an address or else of a name; tried after every --iface",
  },
  "iface-can-reach": {
    kind: "text",
    default: "",
    help: "the interface that routes to this address; tried last",
  },
  "public-ip": { kind: "text", default: "", help: "IPv4 address that peers use for this node" },
  "public-ipv6": { kind: "text", default: "", help: "IPv6 address that peers use for this node" },
  "subnet-file": {
    kind: "text",
    default: "/run/flannel/subnet.env",
    help: "where this node's subnet is written when it is ready",
  },
  "state-dir": {
    kind: "text",
    default: "/var/lib/twill",
    help: "where the last good snapshot is kept, for a start while the store is away",
  },
  "subnet-lease-renew-margin": {
    kind: "int",
    default: "60",
    help: "minutes before expiry in which the lease is renewed, 1 to 1439",
  },
  "ip-masq": { kind: "bool", default: "false", help: "masquerade pods that leave the overlay" },
  "ip-masq-fully-random-disable": {
    kind: "bool",
    default: "false",
    help: "masquerade without random source ports",
  },
  "iptables-forward-rules": {
    kind: "bool",
    default: "true",
    help: "accept forwarded pod traffic",
  },
  "compat": {
    kind: "bool",
    default: "false",
    help: "with EnableNFTables: flannel's own fourth rule, which skips masquerading host traffic",
  },
  "iptables-resync": {
    kind: "int",
    default: "5",
    help: "accepted for compatibility: rules are repaired as soon as they change",
  },
  "ip-blackhole-route": {
    kind: "bool",
    default: "false",
    help: "keep a blackhole route for the own subnet, behind all other routes",
  },
  "kube-subnet-mgr": {
    kind: "bool",
    default: "false",
    help: "leases from the Kubernetes API: podCIDRs and annotations of the nodes",
  },
  "kube-api-url": {
    kind: "text",
    default: "",
    help: "API server that is tried first; the one of the kubeconfig or of the pod is the fallback",
  },
  "kubeconfig-file": {
    kind: "text",
    default: "",
    help: "how to reach the API; without it as the pod that this is, or else by $KUBECONFIG",
  },
  "kube-annotation-prefix": {
    kind: "text",
    default: "flannel.alpha.coreos.com",
    help: "what the names of our annotations begin with, the same on all nodes",
  },
  "net-config-path": {
    kind: "text",
    default: "/etc/kube-flannel/net-conf.json",
    help: "network configuration, with --kube-subnet-mgr",
  },
  "set-node-network-unavailable": {
    kind: "bool",
    default: "true",
    help: "say in the node object that the network is up (NetworkUnavailable=False)",
  },
  "network-policy": {
    kind: "text",
    default: "auto",
    help:
      "enforce NetworkPolicy: on, off, or auto: where the Kubernetes API is known and lets us " +
      "read policies, pods and namespaces",
  },
  "network-policy-ping": {
    kind: "bool",
    default: "false",
    help: "let echo requests pass whatever policies say; without it as other packets without ports",
  },
  "conflist-file": {
    kind: "text",
    default: "",
    help: "write the CNI configuration list here as soon as this node is ready for pods, such as " +
      "/etc/cni/net.d/10-flannel.conflist",
  },
  "conflist-source": {
    kind: "text",
    default: "",
    help: "a file that says what to write there; without it twill's own list",
  },
  "healthz-ip": { kind: "text", default: "0.0.0.0", help: "address of /healthz and /readyz" },
  "healthz-port": { kind: "int", default: "0", help: "port of /healthz and /readyz, 0 for none" },
  "status-page": {
    kind: "text",
    default: "loopback",
    help: "who sees the status page, / on the health port: loopback (this host), all or off",
  },
  "log-format": { kind: "text", default: "text", help: "text or json" },
  "v": {
    kind: "int",
    default: "0",
    help: "log level: 1 and more also print what happens in detail",
  },
  "vmodule": { kind: "text", default: "", help: "accepted; no effect" },
  "log_backtrace_at": { kind: "text", default: ":0", help: "accepted; no effect" },
} as const satisfies Record<string, Spec>;

/** A flag's name. */
export type FlagName = keyof typeof FLAGS;

/** What a flag holds. */
type Value<K extends Spec["kind"]> = K extends "bool" ? boolean
  : K extends "int" ? number
  : K extends "list" ? readonly string[]
  : string;

/** All flags with their values. */
export type Flags = { readonly [N in FlagName]: Value<(typeof FLAGS)[N]["kind"]> };

/** What the command line asks for. */
export type CommandLine =
  | { readonly kind: "run"; readonly flags: Flags; readonly given: ReadonlySet<FlagName> }
  | { readonly kind: "help" | "version" };

/** A command line that cannot be used; the text says why. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Reads the command line: `-x v`, `-x=v`, `--x v`, `--x=v`; a boolean flag takes a value only
 * behind `=`. Variables `FLANNELD_X` count where the command line says nothing, and only when
 * they are not empty. `NODE_NAME` counts as `FLANNELD_NODE_NAME`.
 *
 * @throws {UsageError} naming the flag or variable.
 */
export function parseFlags(
  args: readonly string[],
  env: (name: string) => string | undefined,
): CommandLine {
  const given = new Map<FlagName, string[]>();
  const rest = [...args];
  for (let word = rest.shift(); word !== undefined && word !== "--"; word = rest.shift()) {
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(word);
    if (match === null) throw new UsageError(`unexpected argument ${JSON.stringify(word)}`);
    const [, name = "", inline] = match;
    if (name === "h" || name === "help") return { kind: "help" };
    if (name === "version") return { kind: "version" };
    if (!isFlag(name)) throw new UsageError(`unknown flag --${name}${near(name)}`);
    const value = inline ?? (FLAGS[name].kind === "bool" ? "true" : rest.shift());
    if (value === undefined) throw new UsageError(`flag --${name} needs a value`);
    given.set(name, [...given.get(name) ?? [], value]);
  }
  if (rest.length > 0) throw new UsageError(`unexpected argument ${JSON.stringify(rest[0])}`);
  const flags = Object.fromEntries(
    names().map((name) => [name, valueOf(name, given, env)]),
  ) as Flags;
  validate(flags);
  return { kind: "run", flags, given: new Set(given.keys()) };
}

function names(): FlagName[] {
  return Object.keys(FLAGS) as FlagName[];
}

function isFlag(name: string): name is FlagName {
  return Object.hasOwn(FLAGS, name);
}

function near(name: string): string {
  const close = names().find((one) => one.startsWith(name) || name.startsWith(one));
  return close === undefined ? "" : `; did you mean --${close}`;
}

/** `FLANNELD_` and the flag in capitals. */
export function variableOf(name: string): string {
  return `FLANNELD_${name.toUpperCase().replaceAll("-", "_")}`;
}

function valueOf(
  name: FlagName,
  given: ReadonlyMap<FlagName, readonly string[]>,
  env: (name: string) => string | undefined,
): boolean | number | string | readonly string[] {
  const spec: Spec = FLAGS[name];
  const variable = variableOf(name);
  const fromEnv = env(variable) || (name === "node-name" ? env("NODE_NAME") : undefined);
  const words = given.get(name) ?? (fromEnv ? [fromEnv] : []);
  const source = given.has(name) ? `flag --${name}` : `variable ${variable}`;
  const word = words.at(-1) ?? spec.default;
  return readWords(spec, word, words, source);
}

/** @param word the last of the words, or the default. */
function readWords(
  spec: Spec,
  word: string,
  words: readonly string[],
  source: string,
): boolean | number | string | readonly string[] {
  switch (spec.kind) {
    case "text":
      return word;
    case "list":
      // `--iface=$VARIABLE` with nothing in it names no interface.
      return words.filter((one) => one !== "");
    case "bool":
      return truth(word, source);
    case "int":
      if (!/^[+-]?\d+$/.test(word)) {
        throw new UsageError(`${source}: want a whole number, got ${JSON.stringify(word)}`);
      }
      return Number(word);
  }
}

/** What Go's `strconv.ParseBool` takes. */
function truth(word: string, source: string): boolean {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(word)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(word)) return false;
  throw new UsageError(`${source}: want true or false, got ${JSON.stringify(word)}`);
}

function validate(flags: Flags): void {
  const margin = flags["subnet-lease-renew-margin"];
  if (margin < 1 || margin > 1439) {
    throw new UsageError(
      `Invalid subnet-lease-renew-margin option, out of acceptable range: want 1 to 1439, got ${margin}`,
    );
  }
  if (flags["healthz-port"] > 65_535) {
    throw new UsageError(`flag --healthz-port: want at most 65535, got ${flags["healthz-port"]}`);
  }
  if (flags["kube-subnet-mgr"] && flags["lease-file"] !== "") {
    throw new UsageError("flags --kube-subnet-mgr and --lease-file: choose one of the two stores");
  }
  if (!["auto", "on", "off"].includes(flags["network-policy"])) {
    throw new UsageError(
      `flag --network-policy: want auto, on or off, got "${flags["network-policy"]}"`,
    );
  }
  if (!PAGE_FOR.some((one) => one === flags["status-page"])) {
    throw new UsageError(
      `flag --status-page: want loopback, all or off, got "${flags["status-page"]}"`,
    );
  }
  for (const name of ["conflist-file", "conflist-source"] as const) {
    if (flags[name] === "" || flags[name].startsWith("/")) continue;
    throw new UsageError(`flag --${name}: want an absolute path, got "${flags[name]}"`);
  }
  if (flags["log-format"] !== "text" && flags["log-format"] !== "json") {
    throw new UsageError(`flag --log-format: want text or json, got "${flags["log-format"]}"`);
  }
  if (!/^([a-z0-9][a-z0-9_.-]{0,31})?$/.test(flags.instance)) {
    throw new UsageError(
      `flag --instance: want lower-case letters, digits, "_", "." and "-", got "${flags.instance}"`,
    );
  }
  for (const pattern of flags["iface-regex"]) {
    try {
      new RegExp(pattern);
    } catch (e) {
      throw new UsageError(`flag --iface-regex: ${(e as Error).message}`);
    }
  }
  const addresses = [
    ["public-ip", parseIp4],
    ["public-ipv6", parseIp6],
    ["iface-can-reach", parseIp],
  ] as const;
  for (const [name, parse] of addresses) {
    if (flags[name] === "") continue;
    try {
      parse(flags[name]);
    } catch {
      throw new UsageError(`flag --${name}: invalid IP address: ${flags[name]}`);
    }
  }
}

/** The help text. */
export function usage(): string {
  const lines = names().map((name) => {
    const spec: Spec = FLAGS[name];
    const fallback = spec.default === "" ? "" : ` (default ${spec.default})`;
    return `  --${name}\n        ${spec.help}${fallback}`;
  });
  return [
    "Usage: twill daemon [FLAG…]",
    "",
    "Leases a subnet for this node and keeps the way to all others. Each flag can be given as a",
    "variable too: --ip-masq is FLANNELD_IP_MASQ. The command line wins.",
    "",
    ...lines,
    "",
    "Example: twill daemon --etcd-endpoints=http://10.0.0.2:2379 --ip-masq --healthz-port=9898",
    "",
  ].join("\n");
}
