/**
 * From the API's NetworkPolicy objects to {@link Policy}. What we do not understand makes a policy
 * faulty, never wider: a field that a later Kubernetes adds could narrow what is allowed.
 *
 * @module
 */

import { addressOf, bounds, type Cidr, cidrOf, familyOf, lengthOf, parseInet } from "../ip.ts";
import {
  type Peer,
  type PodScope,
  type Policy,
  type PolicyRule,
  type Port,
  type Protocol,
  PROTOCOLS,
} from "./model.ts";
import { EVERYTHING, type Requirement, type Selector, selectorOf } from "./selector.ts";

/** An object of JSON. */
type Members = Readonly<Record<string, unknown>>;

/**
 * Reads a policy. Its `fault` says what cannot be enforced.
 *
 * @throws {SyntaxError} when the object has no name and namespace; then there is nothing to enforce
 * anything for.
 */
export function readPolicy(object: unknown): Policy {
  const metadata = objectOf(objectOf(object, "policy").metadata, "metadata");
  const { name, namespace } = metadata;
  if (typeof name !== "string" || typeof namespace !== "string") {
    throw new SyntaxError("a NetworkPolicy has no metadata.name or metadata.namespace");
  }
  const id = { namespace, name };
  let targets: Selector | undefined;
  let types: readonly string[] | undefined;
  try {
    const spec = membersOf((object as Members).spec ?? {}, "spec", [
      "podSelector",
      "policyTypes",
      "ingress",
      "egress",
    ]);
    targets = readSelector(spec.podSelector ?? {}, "spec.podSelector");
    types = readTypes(spec);
    const odd = types.find((type) => type !== "Ingress" && type !== "Egress");
    if (odd !== undefined) throw wrong("spec.policyTypes", "Ingress or Egress", odd);
    const rules = (direction: "ingress" | "egress"): PolicyRule[] =>
      listOf(spec[direction], `spec.${direction}`).map((rule, i) =>
        readRule(rule, `spec.${direction}[${i}]`, direction, namespace)
      );
    const [ingress, egress] = [rules("ingress"), rules("egress")];
    const inert = [
      ...(ingress.length > 0 && !types.includes("Ingress") ? ["ingress"] as const : []),
      ...(egress.length > 0 && !types.includes("Egress") ? ["egress"] as const : []),
    ];
    return {
      ...id,
      targets,
      ...(inert.length > 0 ? { inert } : {}),
      ...(types.includes("Ingress") ? { ingress } : {}),
      ...(types.includes("Egress") ? { egress } : {}),
    };
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    // Whom it concerns may be what cannot be read: then it is the whole namespace.
    const known = types?.filter((type) => type === "Ingress" || type === "Egress") ?? [];
    const closed = known.length === types?.length ? known : ["Ingress", "Egress"];
    return {
      ...id,
      targets: targets ?? EVERYTHING,
      ...(closed.includes("Ingress") ? { ingress: [] } : {}),
      ...(closed.includes("Egress") ? { egress: [] } : {}),
      fault: e.message,
    };
  }
}

/** The API server fills in the types when they are missing; so do we, for policies from files. */
function readTypes(spec: Members): readonly string[] {
  const types = listOf(spec.policyTypes, "spec.policyTypes").map(String);
  if (types.length > 0) return types;
  return ["Ingress", ...(listOf(spec.egress, "spec.egress").length > 0 ? ["Egress"] : [])];
}

function readRule(
  value: unknown,
  path: string,
  direction: "ingress" | "egress",
  namespace: string,
): PolicyRule {
  const side = direction === "ingress" ? "from" : "to";
  const rule = membersOf(value, path, [side, "ports"]);
  const peers = listOf(rule[side], `${path}.${side}`);
  const ports = listOf(rule.ports, `${path}.ports`);
  return {
    ...(peers.length > 0
      ? { peers: peers.map((peer, i) => readPeer(peer, `${path}.${side}[${i}]`, namespace)) }
      : {}),
    ...(ports.length > 0
      ? { ports: ports.map((port, i) => readPort(port, `${path}.ports[${i}]`)) }
      : {}),
  };
}

function readPeer(value: unknown, path: string, namespace: string): Peer {
  const peer = membersOf(value, path, ["podSelector", "namespaceSelector", "ipBlock"]);
  const [pods, namespaces, block] = [peer.podSelector, peer.namespaceSelector, peer.ipBlock];
  const hasSelector = isThere(pods) || isThere(namespaces);
  if (isThere(block) === hasSelector) {
    throw new SyntaxError(`${path}: want either selectors or an ipBlock`);
  }
  if (isThere(block)) return readBlock(block, `${path}.ipBlock`);
  const of: PodScope = {
    namespaces: isThere(namespaces)
      ? readSelector(namespaces, `${path}.namespaceSelector`)
      : namespace,
    pods: readSelector(pods ?? {}, `${path}.podSelector`),
  };
  return { kind: "pods", of };
}

function readBlock(value: unknown, path: string): Peer {
  const block = membersOf(value, path, ["cidr", "except"]);
  const cidr = readCidr(block.cidr, `${path}.cidr`);
  const except = listOf(block.except, `${path}.except`).map((text, i) => {
    const at = `${path}.except[${i}]`;
    const net = readCidr(text, at);
    const outer = bounds(cidr);
    const inner = bounds(net);
    if (
      familyOf(net) !== familyOf(cidr) || inner.first < outer.first || inner.last > outer.last
    ) {
      throw wrong(at, `a network within ${cidr}`, text);
    }
    return net;
  });
  return { kind: "block", cidr, except };
}

/** Old objects hold host bits, zeros before decimal numbers, and IPv4 in IPv6 clothes. */
function readCidr(value: unknown, path: string): Cidr {
  const text = String(value);
  const plain = text.includes(":") ? text : text.replace(/(^|\.)0+(?=\d)/g, "$1");
  let inet;
  try {
    inet = parseInet(plain);
  } catch {
    throw wrong(path, "a network such as 10.0.0.0/8", value);
  }
  const [ip, length] = [addressOf(inet), lengthOf(inet)];
  const mapped = /^::ffff:([\d.]+)$/.exec(ip)?.[1];
  if (mapped === undefined || length < 96) return cidrOf(ip, length);
  return cidrOf(mapped as typeof ip, length - 96);
}

function readPort(value: unknown, path: string): Port {
  const entry = membersOf(value, path, ["protocol", "port", "endPort"]);
  const protocol = (entry.protocol ?? "TCP") as Protocol;
  if (!PROTOCOLS.includes(protocol)) throw wrong(`${path}.protocol`, "TCP, UDP or SCTP", protocol);
  const { port, endPort } = entry;
  if (typeof port === "string") {
    if (isThere(endPort)) throw new SyntaxError(`${path}.endPort: a named port has no end`);
    // Also what the kernel's name of a set may hold.
    if (!/^[a-z0-9-]{1,63}$/.test(port) || !/[a-z]/.test(port)) {
      throw wrong(`${path}.port`, "a number or a port's name", port);
    }
    return { kind: "named", protocol, name: port };
  }
  if (!isThere(port)) {
    if (isThere(endPort)) throw new SyntaxError(`${path}.endPort: there is no port to begin with`);
    return { kind: "range", protocol, first: 0, last: 65535 };
  }
  const first = readNumber(port, `${path}.port`, 1);
  return {
    kind: "range",
    protocol,
    first,
    last: isThere(endPort) ? readNumber(endPort, `${path}.endPort`, first) : first,
  };
}

function readNumber(value: unknown, path: string, least: number): number {
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= 65535) {
    return Number(value);
  }
  throw wrong(path, `${least} to 65535`, value);
}

/**
 * Reads a label selector.
 *
 * @throws {SyntaxError} when it is not one.
 */
export function readSelector(value: unknown, path: string): Selector {
  const selector = membersOf(value, path, ["matchLabels", "matchExpressions"]);
  const labels = objectOf(selector.matchLabels ?? {}, `${path}.matchLabels`);
  const equal = Object.entries(labels).map(([key, label]): Requirement => {
    if (typeof label !== "string") throw wrong(`${path}.matchLabels.${key}`, "a text", label);
    return { key, operator: "In", values: [label] };
  });
  const expressions = listOf(selector.matchExpressions, `${path}.matchExpressions`);
  return selectorOf([
    ...equal,
    ...expressions.map((one, i) => readRequirement(one, `${path}.matchExpressions[${i}]`)),
  ]);
}

function readRequirement(value: unknown, path: string): Requirement {
  const { key, operator, values } = membersOf(value, path, ["key", "operator", "values"]);
  if (typeof key !== "string" || key === "") throw wrong(`${path}.key`, "a label's name", key);
  const listed = listOf(values, `${path}.values`);
  const odd = listed.find((one) => typeof one !== "string");
  if (odd !== undefined) throw wrong(`${path}.values`, "texts", odd);
  switch (operator) {
    case "In":
    case "NotIn":
      if (listed.length === 0) throw new SyntaxError(`${path}.values: ${operator} wants some`);
      return { key, operator, values: listed as string[] };
    case "Exists":
    case "DoesNotExist":
      if (listed.length > 0) throw new SyntaxError(`${path}.values: ${operator} takes none`);
      return { key, operator };
    default:
      throw wrong(`${path}.operator`, "In, NotIn, Exists or DoesNotExist", operator);
  }
}

/** Null counts as absent, as everywhere in the API. */
function isThere(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function objectOf(value: unknown, path: string): Members {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Members;
  throw wrong(path, "an object", value);
}

/** An object with no other members than these. */
function membersOf(value: unknown, path: string, known: readonly string[]): Members {
  const object = objectOf(value, path);
  const odd = Object.keys(object).find((key) => isThere(object[key]) && !known.includes(key));
  if (odd === undefined) return object;
  throw new SyntaxError(`${path}.${odd}: this field is not known here`);
}

function listOf(value: unknown, path: string): readonly unknown[] {
  if (!isThere(value)) return [];
  if (Array.isArray(value)) return value;
  throw wrong(path, "a list", value);
}

function wrong(path: string, want: string, got: unknown): SyntaxError {
  const text = JSON.stringify(got) ?? "nothing";
  const short = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return new SyntaxError(`${path}: want ${want}, got ${short}`);
}
