/**
 * A node on paper: its facts, its files, and the whole of `twill inspect` run on them.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { LinkView } from "../../ffi/netns_view.ts";
import { runInspect } from "../../inspect/app.ts";
import type { Capability, InspectContext } from "../../inspect/context.ts";
import type { RuleTexts } from "../../inspect/rules/tools.ts";
import type { Fact, RouteFact, Scope } from "../../engine/fact.ts";
import {
  addressOf,
  contains,
  familyOf,
  type Ip,
  lengthOf,
  parseCidr,
  parseInet,
  parseIp,
} from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import type { RouteAnswer } from "../../engine/trace/lookup.ts";
import { parseNonce } from "../../engine/trace/nonce.ts";
import type { CheckTools } from "../../inspect/check/tools.ts";
import type { DroppedPacket } from "../../engine/policy/dropped.ts";
import type { TraceTools } from "../../inspect/trace/tools.ts";

/** The subnet file of the node on paper. */
export const ENV = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;

/** The same node in both families. */
export const ENV_DUAL = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;

const where = "host";

/** A link with its state. */
export function link(name: string, mtu: number, driver: "bridge" | "veth" | ""): Fact[] {
  return [
    {
      kind: "link",
      where,
      name,
      mtu,
      driver: driver === "" ? { kind: "other", name: "" } : { kind: driver },
    },
    { kind: "up", where, dev: name, up: true },
  ];
}

/** An address on a link. */
export function address(dev: string, inet: string): Fact {
  return { kind: "address", where, dev, inet: parseInet(inet) };
}

/** A route as the kernel tells it. */
export function route(
  dst: string,
  dev: string | undefined,
  rest: Partial<RouteFact> & { readonly gateway?: string } = {},
): RouteFact {
  const { gateway, ...fields } = rest;
  return {
    kind: "route",
    where,
    dst: parseCidr(dst),
    ...(dev === undefined ? {} : { dev }),
    ...(gateway === undefined ? {} : { via: parseIp(gateway) }),
    onlink: false,
    blackhole: false,
    protocol: 2,
    metric: 0,
    table: 254,
    scope: gateway === undefined ? 253 : 0,
    ...fields,
  };
}

/** A permanent neighbour. */
export function neighbour(dev: string, ip: string, mac: string): Fact {
  return { kind: "neighbour", where, dev, ip: parseIp(ip), mac: parseMac(mac) };
}

/** A permanent forwarding entry. */
export function fdb(dev: string, mac: string, remote: string): Fact {
  return { kind: "fdb", where, dev, mac: parseMac(mac), remote: parseIp(remote) };
}

/** The three entries of peer N: pods in 10.244.N.0/24, node at 192.0.2.N. */
export function peer(n: number, protocol = 146): [RouteFact, Fact, Fact] {
  const [base, mac] = [`10.244.${n}.0`, `02:00:00:00:0${n}:04`];
  return [
    route(`${base}/24`, "flannel.1", { gateway: base, onlink: true, protocol }),
    neighbour("flannel.1", base, mac),
    fdb("flannel.1", mac, `192.0.2.${n}`),
  ];
}

/** The same in IPv6: pods in fd00:244:0:N::/64, node at 2001:db8::N. */
export function peer6(n: number): [RouteFact, Fact, Fact] {
  const [base, mac] = [`fd00:244:0:${n}::`, `02:00:00:00:0${n}:06`];
  return [
    route(`${base}/64`, "flannel-v6.1", { gateway: base, onlink: true, protocol: 146 }),
    neighbour("flannel-v6.1", base, mac),
    fdb("flannel-v6.1", mac, `2001:db8::${n}`),
  ];
}

/** The uplink, with a default route. */
export function uplink(mtu = 1500): Fact[] {
  return [
    ...link("eth0", mtu, ""),
    address("eth0", "192.0.2.1/24"),
    route("0.0.0.0/0", "eth0", { gateway: "192.0.2.254", protocol: 3 }),
    route("192.0.2.0/24", "eth0", { src: parseIp("192.0.2.1") }),
  ];
}

/** The IPv4 VTEP of node 1. */
export function vtep(mtu = 1450): Fact[] {
  const driver = { kind: "vxlan", vni: 1, port: 8472, underlay: "eth0" } as const;
  return [
    {
      kind: "link",
      where,
      name: "flannel.1",
      mtu,
      mac: parseMac("02:00:00:00:01:04"),
      driver: { ...driver, local: parseIp("192.0.2.1") },
    },
    { kind: "up", where, dev: "flannel.1", up: true },
    address("flannel.1", "10.244.1.0/32"),
  ];
}

/** The IPv6 VTEP of node 1. */
export function vtep6(mtu = 1430): Fact[] {
  const driver = { kind: "vxlan", vni: 1, port: 8472, underlay: "eth0" } as const;
  return [
    {
      kind: "link",
      where,
      name: "flannel-v6.1",
      mtu,
      mac: parseMac("02:00:00:00:01:06"),
      driver: { ...driver, local: parseIp("2001:db8::1") },
    },
    { kind: "up", where, dev: "flannel-v6.1", up: true },
    address("flannel-v6.1", "fd00:244:0:1::/128"),
    address("flannel-v6.1", "fe80::1/64"),
    // What the kernel adds by itself for each link and address.
    route("fd00:244:0:1::/128", "flannel-v6.1", { metric: 256 }),
    route("fe80::/64", "flannel-v6.1", { metric: 256 }),
  ];
}

/** The pods' bridge with one pod on it. */
export function bridge(inet = "10.244.1.1/24", podMtu = 1450): Fact[] {
  return [
    ...link("cni0", podMtu, "bridge"),
    address("cni0", inet),
    route("10.244.1.0/24", "cni0", { src: parseIp("10.244.1.1") }),
    ...link("veth1", podMtu, "veth"),
    { kind: "port", where, dev: "veth1", bridge: "cni0" },
  ];
}

/** Node 1 as it should be, with peers 2 and 3 (a flannel node). */
export const HEALTHY: readonly Fact[] = [
  ...uplink(),
  ...vtep(),
  ...bridge(),
  ...peer(2),
  ...peer(3, 3),
];

/** When the scenes play: the start of 2026. */
export const NOW = Date.UTC(2026, 0, 1);

/** What the program is run with. */
export interface Scene {
  /** A function stands for a kernel that cannot be read. */
  readonly facts?: readonly Fact[] | (() => never);
  /** By path; a function throws. Absent: the subnet file of node 1 alone. */
  readonly files?: Readonly<Record<string, string | (() => never)>>;
  /** What the daemon answers on its status socket, by path; absent: there is no daemon. */
  readonly status?: Readonly<Record<string, string>>;
  /** Packet rules; default: none. */
  readonly rules?: Partial<RuleTexts>;
  /** The links of this node (`host`), and of network namespaces by their paths. */
  readonly namespaces?: Readonly<Record<string, readonly LinkView[]>>;
  /** With `--watch`: what happens, one burst after the other; then the reader ends it. */
  readonly happens?: readonly (Partial<Scene>)[];
  /** `Date.now()`; default: the start of 2026. */
  readonly now?: number;
  readonly rights?: readonly Capability[];
  /** What `check` tries; default: the kernel can all of it, and nobody answers anything. */
  readonly tools?: Partial<CheckTools>;
  /** The kernel's table of policies, as nft lists it; default: there is none. */
  readonly policyTable?: string;
  /** What it has dropped. */
  readonly counts?: ReadonlyMap<string, number>;
  /** What it drops while somebody follows. */
  readonly drops?: readonly DroppedPacket[];
  /** What `trace` asks; default: no rules, and the routes of the facts. */
  readonly asked?: Partial<TraceTools>;
  /** Takes the files that are written, by path. */
  readonly saved?: Map<string, Uint8Array>;
  /** The locale is UTF-8; default: it is. */
  readonly unicode?: boolean;
  readonly colour?: boolean;
  readonly width?: number;
}

const QUIET: CheckTools = {
  features: (backend) =>
    ["vxlan", "bridge", "veth", ...(backend === "wireguard" ? [backend] : []), "nft"]
      .map((name) => ({ name })),
  echoes: (all) => Promise.resolve(all.map(() => "silent")),
  nonce: () => parseNonce("00112233445566778899aabbccddeeff"),
  sendProbe: () => {},
  page: () => Promise.resolve(undefined),
  answersTcp: () => Promise.resolve(false),
};

/** How it ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `twill inspect …` on a scene; `line` is split at spaces. */
export async function inspect(line: string, first: Scene = {}): Promise<Outcome> {
  const out = { stdout: "", stderr: "" };
  let scene = first;
  const files = (): NonNullable<Scene["files"]> =>
    scene.files ?? { "/run/flannel/subnet.env": ENV };
  let open = 0;
  const context: InspectContext = {
    process: {
      stdout: { write: (text) => void (out.stdout += text) },
      stderr: { write: (text) => void (out.stderr += text) },
    },
    open: () => {
      const { facts = HEALTHY } = scene;
      if (typeof facts === "function") return Promise.reject(thrownBy(facts));
      open++;
      return Promise.resolve({
        read: (scope) => facts.filter((fact) => isIn(scope, fact)),
        lookUp: (_, { to }) => wayTo(facts, to),
        [Symbol.dispose]: () => void open--,
      });
    },
    readFile: (path) => {
      const text = files()[path];
      if (text === undefined) throw new Deno.errors.NotFound(path);
      return typeof text === "string" ? text : text();
    },
    list: (path) => {
      const below = Object.keys(files()).filter((name) => name.startsWith(`${path}/`));
      if (below.length === 0) throw new Deno.errors.NotFound(path);
      return [...new Set(below.map((name) => name.slice(path.length + 1).split("/")[0]!))].sort();
    },
    ruleTools: () => Promise.resolve({ read: () => ({ nft: "", legacy: {}, ...scene.rules }) }),
    policyTools: () =>
      Promise.resolve({
        table: () => scene.policyTable ?? "",
        counts: () => scene.counts ?? new Map(),
        drops: async function* (): AsyncGenerator<DroppedPacket> {
          yield* scene.drops ?? [];
        },
      }),
    podTools: () => {
      if (typeof scene.facts === "function") return Promise.reject(thrownBy(scene.facts));
      return Promise.resolve({ view: (path) => linksOf(scene, path) });
    },
    traceTools: () => {
      const { facts = HEALTHY } = scene;
      if (typeof facts === "function") return Promise.reject(thrownBy(facts));
      return Promise.resolve({
        lookUp: (netns, { to }) => netns === undefined ? wayTo(facts, to) : podWay(to),
        ruleset: () => "",
        iptables: () => undefined,
        ruleText: () => undefined,
        token: () => 20_000,
        live: () => Promise.reject(new Error("a packet was sent")),
        [Symbol.dispose]: () => {},
        ...scene.asked,
      });
    },
    save: (path, bytes) => scene.saved?.set(path, bytes),
    ask: (_socket, path) => Promise.resolve(scene.status?.[path]),
    checkTools: () => Promise.resolve({ ...QUIET, ...scene.tools }),
    has: (capability) =>
      (scene.rights ?? ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"])
        .includes(capability),
    interrupted: () => new AbortController().signal,
    changes: async function* (): AsyncGenerator<void> {
      yield;
      for (const next of scene.happens ?? []) {
        scene = { ...scene, ...next };
        yield await Promise.resolve();
      }
    },
    now: () => scene.now ?? NOW,
    unicode: scene.unicode ?? true,
    colour: scene.colour ?? false,
    ...(scene.width === undefined ? {} : { width: scene.width }),
  };
  const args = line.split(" ").filter((word) => word !== "");
  const code = await runInspect(args, context);
  if (open !== 0) throw new Error("the kernel was not closed");
  return { code, ...out };
}

function linksOf({ namespaces }: Scene, path = "host"): readonly LinkView[] {
  const links = namespaces?.[path];
  if (links !== undefined || path === "host") return links ?? [];
  throw new OpError("open", path, { code: ErrorCode.io });
}

function thrownBy(work: () => never): unknown {
  try {
    return work();
  } catch (e) {
    return e;
  }
}

/** The way in a pod of node 1. */
function podWay(to: Ip): RouteAnswer {
  if (contains(parseCidr("10.244.1.0/24"), to)) return { kind: "found", dev: "eth0" };
  return { kind: "found", dev: "eth0", via: parseIp("10.244.1.1") };
}

/** The way of a kernel with these routes: the longest prefix. */
export function wayTo(facts: readonly Fact[], to: Ip): RouteAnswer {
  const own = facts.find((fact) => fact.kind === "address" && addressOf(fact.inet) === to);
  if (own?.kind === "address") return { kind: "local", dev: own.dev };
  const [best] = facts.filter((fact): fact is RouteFact =>
    fact.kind === "route" && familyOf(fact.dst) === familyOf(to) && contains(fact.dst, to)
  ).sort((a, b) => lengthOf(b.dst) - lengthOf(a.dst));
  if (best?.dev === undefined) return { kind: "none", errno: 101, words: "Network is unreachable" };
  return {
    kind: "found",
    dev: best.dev,
    ...(best.via === undefined ? {} : { via: best.via }),
    entry: { dst: best.dst, protocol: best.protocol ?? 0, metric: 0, table: 254 },
  };
}

/** What a kernel gives for a scope. */
function isIn(scope: Scope, fact: Fact): boolean {
  const lists = (list: readonly string[] | "all" | undefined, name: string): boolean =>
    list === "all" || list?.includes(name) === true;
  switch (fact.kind) {
    case "link":
      return lists(scope.links, fact.name);
    case "up":
    case "port":
      return lists(scope.links, fact.dev);
    case "address":
      return lists(scope.addresses, fact.dev);
    case "route":
      return scope.routes === true;
    case "neighbour":
      return lists(scope.neighbours, fact.dev);
    case "fdb":
      return lists(scope.fdb, fact.dev);
    case "wireguard":
    case "wireguard-peer":
      return lists(scope.wireguard, fact.dev);
    case "sysctl":
      return lists(scope.sysctls, fact.key);
    case "rules":
      return lists(scope.rules, fact.table);
    case "chain":
      return (scope.chains ?? []).some(({ chain }) => chain === fact.chain);
    default:
      return false;
  }
}
