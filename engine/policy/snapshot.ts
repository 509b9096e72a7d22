/**
 * The cluster as one daemon sees it, as a document: what `/policy` of its status socket answers, and
 * what inspect decides from. Rules stand in the order of the policy's own lists.
 *
 * @module
 */

import { type Cidr, type Ip, parseCidr, parseIp } from "../ip.ts";
import {
  Fields,
  isJsonList,
  type Json,
  JsonObject,
  jsonObject,
  parseJson,
  stringifyJson,
} from "../json.ts";
import type {
  Cluster,
  NamedPort,
  Namespace,
  Peer,
  Pod,
  Policy,
  PolicyRule,
  Port,
  Protocol,
} from "./model.ts";
import { DIRECTIONS, PROTOCOLS } from "./model.ts";
import { type Labels, type Requirement, type Selector, selectorOf } from "./selector.ts";
import type { PolicyState } from "./status.ts";

/** See the module. */
export interface PolicySnapshot {
  /** This node's name in the API; empty while nothing is known. */
  readonly node: string;
  /** Family and name of the table in the kernel. */
  readonly table: string;
  /** Echo requests pass whatever the policies say. */
  readonly ping: boolean;
  readonly state: PolicyState;
  /** Why it is off or degraded. */
  readonly reasons: readonly string[];
  /** When the kernel last took what is wanted, ms since 1970. */
  readonly synced?: number;
  /** Addresses of this node whose pods are not known yet: nothing is allowed. */
  readonly held: readonly Ip[];
  /** Pods have the addresses that are their own now; those with the node's network have its. */
  readonly cluster: Cluster;
}

/** As JSON text. */
export function formatPolicySnapshot(snapshot: PolicySnapshot): string {
  const { node, table, ping, state, reasons, synced, held, cluster } = snapshot;
  return stringifyJson(jsonObject({
    schema: 1,
    kind: "policy",
    node,
    table,
    ping,
    state,
    reasons: [...reasons],
    synced: synced === undefined ? null : new Date(synced).toISOString(),
    held: [...held],
    namespaces: cluster.namespaces.map(({ name, labels }) =>
      jsonObject({ name, labels: labelsJson(labels) })
    ),
    pods: cluster.pods.map(podJson),
    policies: cluster.policies.map(policyJson),
  }));
}

/** Reads {@link formatPolicySnapshot}'s text. @throws {SyntaxError} when it is anything else */
export function parsePolicySnapshot(text: string): PolicySnapshot {
  const fields = Fields.document(parseJson(text));
  if (fields.integer("schema") !== 1 || fields.string("kind") !== "policy") {
    throw new SyntaxError("want schema 1 and kind policy: is that another version of twill?");
  }
  const synced = Date.parse(fields.string("synced") ?? "");
  const state = fields.string("state");
  return {
    node: fields.string("node") ?? "",
    table: fields.string("table") ?? "",
    ping: fields.boolean("ping") ?? false,
    state: state === "on" || state === "starting" || state === "degraded" ? state : "off",
    reasons: fields.strings("reasons") ?? [],
    ...(Number.isNaN(synced) ? {} : { synced }),
    held: (fields.strings("held") ?? []).map(parseIp),
    cluster: {
      namespaces: (fields.objects("namespaces") ?? []).map(readNamespace),
      pods: (fields.objects("pods") ?? []).map(readPod),
      policies: (fields.objects("policies") ?? []).map(readPolicy),
    },
  };
}

function labelsJson(labels: Labels): Json {
  return new JsonObject([...labels]);
}

function readLabels(object: JsonObject | undefined): Labels {
  return new Map((object?.members ?? []).map(([key, value]) => [key, String(value)]));
}

function readNamespace(fields: Fields): Namespace {
  return { name: fields.string("name") ?? "", labels: readLabels(fields.object("labels")) };
}

function podJson({ labels, ips, ports, ...rest }: Pod): Json {
  return jsonObject({
    ...rest,
    labels: labelsJson(labels),
    ips: [...ips],
    ports: ports.map((port) => jsonObject({ ...port })),
  });
}

function readPod(fields: Fields): Pod {
  const flag = (name: string): boolean => fields.boolean(name) ?? false;
  return {
    namespace: fields.string("namespace") ?? "",
    name: fields.string("name") ?? "",
    uid: fields.string("uid") ?? "",
    node: fields.string("node") ?? "",
    hostNetwork: flag("hostNetwork"),
    done: flag("done"),
    running: flag("running"),
    terminating: flag("terminating"),
    created: fields.string("created") ?? "",
    labels: readLabels(fields.object("labels")),
    ips: (fields.strings("ips") ?? []).map(parseIp),
    ports: (fields.objects("ports") ?? []).map((port): NamedPort => ({
      name: port.string("name") ?? "",
      protocol: readProtocol(port),
      port: port.integer("port") ?? 0,
    })),
  };
}

function readProtocol(fields: Fields): Protocol {
  const word = fields.string("protocol");
  const known = PROTOCOLS.find((one) => one === word);
  if (known !== undefined) return known;
  throw new SyntaxError(`${fields.pathOf("protocol")}: want ${PROTOCOLS.join(", ")}`);
}

function selectorJson({ requirements }: Selector): Json {
  return requirements.map((one) =>
    jsonObject({
      key: one.key,
      operator: one.operator,
      values: "values" in one ? [...one.values] : [],
    })
  );
}

function readSelector(fields: Fields, name: string): Selector {
  return selectorOf((fields.objects(name) ?? []).map((one): Requirement => {
    const [key, operator] = [one.string("key") ?? "", one.string("operator")];
    switch (operator) {
      case "In":
      case "NotIn":
        return { key, operator, values: one.strings("values") ?? [] };
      case "Exists":
      case "DoesNotExist":
        return { key, operator };
      default:
        throw new SyntaxError(`${one.pathOf("operator")}: is none: ${JSON.stringify(operator)}`);
    }
  }));
}

function policyJson({ namespace, name, targets, ingress, egress, inert, fault }: Policy): Json {
  return jsonObject({
    namespace,
    name,
    targets: selectorJson(targets),
    ingress: ingress === undefined ? null : ingress.map(ruleJson),
    egress: egress === undefined ? null : egress.map(ruleJson),
    inert: [...inert ?? []],
    fault: fault ?? null,
  });
}

function readPolicy(fields: Fields): Policy {
  const [ingress, egress] = [fields.objects("ingress"), fields.objects("egress")];
  const fault = fields.string("fault");
  const inert = DIRECTIONS.filter((one) => fields.strings("inert")?.includes(one));
  return {
    namespace: fields.string("namespace") ?? "",
    name: fields.string("name") ?? "",
    targets: readSelector(fields, "targets"),
    ...(ingress === undefined ? {} : { ingress: ingress.map(readRule) }),
    ...(egress === undefined ? {} : { egress: egress.map(readRule) }),
    ...(inert.length === 0 ? {} : { inert }),
    ...(fault === undefined ? {} : { fault }),
  };
}

function ruleJson({ peers, ports }: PolicyRule): Json {
  return jsonObject({
    peers: peers === undefined ? null : peers.map(peerJson),
    ports: ports === undefined ? null : ports.map((port) => jsonObject({ ...port })),
  });
}

function readRule(fields: Fields): PolicyRule {
  const [peers, ports] = [fields.objects("peers"), fields.objects("ports")];
  return {
    ...(peers === undefined ? {} : { peers: peers.map(readPeer) }),
    ...(ports === undefined ? {} : { ports: ports.map(readPort) }),
  };
}

function peerJson(peer: Peer): Json {
  if (peer.kind === "block") {
    return jsonObject({ kind: "block", cidr: peer.cidr, except: [...peer.except] });
  }
  const { namespaces, pods } = peer.of;
  return jsonObject({
    kind: "pods",
    namespaces: typeof namespaces === "string" ? namespaces : selectorJson(namespaces),
    pods: selectorJson(pods),
  });
}

function readPeer(fields: Fields): Peer {
  switch (fields.string("kind")) {
    case "block":
      return {
        kind: "block",
        cidr: parseCidr(fields.string("cidr") ?? ""),
        except: (fields.strings("except") ?? []).map((text): Cidr => parseCidr(text)),
      };
    case "pods": {
      // One namespace by its name, or those that a selector matches.
      const selects = isJsonList(fields.raw("namespaces") ?? null);
      const namespaces = selects
        ? readSelector(fields, "namespaces")
        : fields.string("namespaces") ?? "";
      return { kind: "pods", of: { namespaces, pods: readSelector(fields, "pods") } };
    }
    default:
      throw new SyntaxError(`${fields.pathOf("kind")}: want block or pods`);
  }
}

function readPort(fields: Fields): Port {
  const protocol = readProtocol(fields);
  switch (fields.string("kind")) {
    case "named":
      return { kind: "named", protocol, name: fields.string("name") ?? "" };
    case "range":
      return {
        kind: "range",
        protocol,
        first: fields.integer("first") ?? 0,
        last: fields.integer("last") ?? 0,
      };
    default:
      throw new SyntaxError(`${fields.pathOf("kind")}: want range or named`);
  }
}
