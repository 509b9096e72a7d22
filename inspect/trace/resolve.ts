/**
 * What the words of `trace` mean: pods, addresses, services, nodes, ports. Pure.
 *
 * @module
 */

import { familyOf, type Ip, parseIp } from "../../engine/ip.ts";
import type { TracePacket } from "../../engine/trace/evaluate.ts";
import type { Origin } from "../../engine/trace/walk.ts";
import type { TracePod, TraceWorld } from "../../engine/trace/world.ts";
import { isNamed, type Pod } from "../pods/join.ts";
import type { ServicePort } from "./services.ts";

/** A word that means nothing here; the text says what would. */
export class UnknownWord extends Error {
  override readonly name = "UnknownWord";
}

/** One end of a connection. */
export interface End {
  readonly ip: Ip;
  /** What it is called. */
  readonly label: string;
  readonly pod?: TracePod;
  /** It is this node. */
  readonly here?: boolean;
  /** It is a port of a service. */
  readonly service?: ServicePort;
}

/** Protocol and port. */
export interface PortWord {
  readonly protocol: string;
  readonly port?: number;
}

const PROTOCOLS = ["tcp", "udp", "sctp", "icmp"] as const;

/** Reads `80`, `tcp/80`, `80/udp`, `icmp`. @throws {SyntaxError} */
export function parsePort(word: string): PortWord {
  const [a = "", b = ""] = word.toLowerCase().split("/");
  const [protocol, port] = /^\d+$/.test(a) ? [b || "tcp", a] : [a, b];
  const known = PROTOCOLS.some((one) => one === protocol);
  if (protocol === "icmp" && port === "") return { protocol };
  const number = Number(port);
  if (!known || protocol === "icmp" || port === "" || !(number > 0 && number < 65_536)) {
    throw new SyntaxError(
      `want a port: 80, tcp/80, udp/53, or icmp; got ${JSON.stringify(word)}`,
    );
  }
  return { protocol, port: number };
}

/** What can be named. */
export interface Names {
  readonly world: TraceWorld;
  /** As `pods` knows them, in the order of the world's. */
  readonly pods: readonly Pod[];
  readonly services: readonly ServicePort[];
}

/** Finds out what a word means. @throws {UnknownWord} */
export function resolve(word: string, names: Names, port: PortWord | undefined): End {
  const { world, pods, services } = names;
  if (word === "node" || word === world.node) {
    const ip = ownAddress(world);
    if (ip === undefined) throw new UnknownWord("this node has no address");
    return { ip, label: world.node, here: true };
  }
  const at = pods.findIndex((pod) => isNamed(pod, word));
  const pod = world.pods[at];
  if (pod !== undefined) {
    const [ip] = pod.ips;
    if (ip === undefined) throw new UnknownWord(`pod ${pod.name} has no address`);
    // An address of a pod with several means that very one.
    const meant = pod.ips.find((one) => one === word) ?? ip;
    return { ip: meant, label: pod.name, pod };
  }
  const peer = world.peers.find(({ node }) => node === word);
  if (peer?.publicIp !== undefined) return { ip: peer.publicIp, label: `${word} (a node)` };
  const service = serviceOf(word, services, port);
  if (service !== undefined) return service;
  let ip: Ip;
  try {
    ip = parseIp(word);
  } catch {
    throw new UnknownWord(
      `${
        JSON.stringify(word)
      } is no address, no pod of this node (twill inspect pods), no node of ` +
        "a lease (twill inspect leases), and no service in kube-proxy's rules (svc/NAMESPACE/NAME)",
    );
  }
  const here = world.addresses.has(ip);
  const named = services.find((one) =>
    one.ip === ip && (port === undefined || one.port === port.port)
  );
  return {
    ip,
    label: named === undefined ? ip : `${ip} (service ${named.service})`,
    ...(here ? { here } : {}),
    ...(named === undefined ? {} : { service: named }),
  };
}

function serviceOf(
  word: string,
  services: readonly ServicePort[],
  port: PortWord | undefined,
): End | undefined {
  const match = /^(?:svc|service)\/(?:([^/]+)\/)?([^/:]+)(?::(.+))?$/.exec(word);
  if (match === null) return undefined;
  const [, namespace = "default", name = "", wanted] = match;
  const full = `${namespace}/${name}`;
  const all = services.filter(({ service }) => service === full);
  const found = all.find((one) =>
    (wanted === undefined || one.name === wanted || String(one.port) === wanted) &&
    (port?.port === undefined || one.port === port.port && one.protocol === port.protocol)
  );
  if (found !== undefined) return { ip: found.ip, label: `service ${full}`, service: found };
  const has = all.map((one) => `${one.name || one.port} (${one.protocol}/${one.port})`).join(", ");
  throw new UnknownWord(
    all.length === 0
      ? `kube-proxy's rules on this node name no service ${full}`
      : `service ${full} has no such port; it has ${has}`,
  );
}

function ownAddress({ addresses, links }: TraceWorld): Ip | undefined {
  const all = [...addresses].filter(([ip, dev]) => dev !== "lo" && familyOf(ip) === 4);
  const uplink = all.find(([, dev]) => links.get(dev)?.kind === "other");
  return (uplink ?? all[0])?.[0];
}

/** The packet of a question, and where it begins. @throws {UnknownWord} */
export function question(
  world: TraceWorld,
  from: End,
  to: End,
  port: PortWord | undefined,
): { readonly origin: Origin; readonly packet: TracePacket } {
  if (familyOf(from.ip) !== familyOf(to.ip)) {
    throw new UnknownWord(`${from.ip} and ${to.ip} are of different families`);
  }
  const { protocol = "icmp", port: dport } = port ??
    (to.service && { protocol: to.service.protocol, port: to.service.port }) ?? {};
  const packet: TracePacket = {
    src: from.ip,
    dst: to.ip,
    protocol,
    ...(dport === undefined ? {} : { dport }),
    mark: 0,
  };
  if (from.pod !== undefined) return { origin: { kind: "pod", pod: from.pod }, packet };
  if (from.here === true) {
    const way = world.lookUp(undefined, { to: to.ip });
    const src = way.kind === "found" ? way.src ?? from.ip : from.ip;
    return { origin: { kind: "node" }, packet: { ...packet, src } };
  }
  const back = world.lookUp(undefined, { to: from.ip });
  if (back.kind !== "found") {
    throw new UnknownWord(
      `cannot tell where packets of ${from.ip} come in: there is no route to it`,
    );
  }
  return { origin: { kind: "link", dev: back.dev }, packet };
}
