/**
 * NetworkPolicy by the letter, on the API's own objects, as slow as it is simple. It shares no line
 * with the compiler: addresses are ipaddr.js's business.
 *
 * @module
 */

import ipaddr from "ipaddr.js";
import type { MetadataObject, PodObject } from "../../../engine/policy/read_objects.ts";
import type { PeerObject, PolicyObject, PortObject, SelectorObject } from "./language.ts";

/** A cluster as the API shows it. */
export interface ApiCluster {
  readonly namespaces: readonly MetadataObject[];
  readonly pods: readonly PodObject[];
  readonly policies: readonly PolicyObject[];
}

/** A connection. `other` has no port. */
export interface Flow {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
}

/** Whether the source may send it. */
export function egressAllows(cluster: ApiCluster, flow: Flow): boolean {
  return sideAllows(cluster, flow, "egress", flow.source, flow.destination);
}

/** Whether the destination may take it. */
export function ingressAllows(cluster: ApiCluster, flow: Flow): boolean {
  return sideAllows(cluster, flow, "ingress", flow.destination, flow.source);
}

function sideAllows(
  cluster: ApiCluster,
  flow: Flow,
  direction: "ingress" | "egress",
  self: string,
  other: string,
): boolean {
  if (self === other) return true;
  const pod = ownerOf(cluster, self);
  if (pod === undefined) return true;
  const isolating = cluster.policies.filter(({ metadata, spec }) => {
    const types = spec.policyTypes ??
      ((spec.egress ?? []).length > 0 ? ["Ingress", "Egress"] : ["Ingress"]);
    return types.includes(direction === "ingress" ? "Ingress" : "Egress") &&
      metadata.namespace === pod.metadata.namespace &&
      selects(spec.podSelector, pod.metadata.labels);
  });
  if (isolating.length === 0) return true;
  return isolating.some(({ metadata, spec }) =>
    (spec[direction] ?? []).some((rule) => {
      const peers = (direction === "ingress" ? rule.from : rule.to) ?? [];
      const ports = rule.ports ?? [];
      return (peers.length === 0 ||
        peers.some((peer) => isPeer(cluster, metadata.namespace, peer, other))) &&
        (ports.length === 0 || ports.some((port) => isPort(cluster, port, flow)));
    })
  );
}

/** The pod that has an address now. */
function ownerOf({ pods }: ApiCluster, ip: string): PodObject | undefined {
  const claims = pods.filter(({ spec, status }) =>
    spec?.hostNetwork !== true &&
    status?.phase !== "Succeeded" && status?.phase !== "Failed" &&
    (status?.podIPs ?? []).some((one) => one.ip === ip)
  );
  const rank = ({ metadata, status }: PodObject): [number, number, string, string] => [
    metadata.deletionTimestamp ? 0 : 1,
    status?.phase === "Running" ? 1 : 0,
    metadata.creationTimestamp ?? "",
    `${metadata.namespace}/${metadata.name}`,
  ];
  return claims.sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return y[0] - x[0] || y[1] - x[1] || (x[2] > y[2] ? -1 : x[2] < y[2] ? 1 : 0) ||
      (x[3] < y[3] ? -1 : 1);
  })[0];
}

function isPeer(cluster: ApiCluster, namespace: string, peer: PeerObject, ip: string): boolean {
  if (peer.ipBlock !== undefined) {
    return within(ip, peer.ipBlock.cidr) &&
      !(peer.ipBlock.except ?? []).some((net) => within(ip, net));
  }
  const pod = ownerOf(cluster, ip);
  if (pod === undefined) return false;
  const home = cluster.namespaces.find(({ metadata }) => metadata.name === pod.metadata.namespace);
  const near = peer.namespaceSelector === undefined
    ? pod.metadata.namespace === namespace
    : home !== undefined && selects(peer.namespaceSelector, home.metadata.labels);
  return near && selects(peer.podSelector ?? {}, pod.metadata.labels);
}

function within(ip: string, cidr: string): boolean {
  const address = ipaddr.parse(ip);
  const [net, length] = ipaddr.parseCIDR(cidr);
  return address.kind() === net.kind() && address.match(net, length);
}

function selects(
  { matchLabels = {}, matchExpressions = [] }: SelectorObject,
  labels: Readonly<Record<string, string>> | null = {},
): boolean {
  const has = (key: string): boolean => labels !== null && key in labels;
  const is = (key: string, values: string[]): boolean =>
    has(key) && values.includes(labels?.[key] ?? "");
  return Object.entries(matchLabels).every(([key, value]) => is(key, [value])) &&
    matchExpressions.every(({ key, operator, values = [] }) =>
      operator === "In"
        ? is(key, values)
        : operator === "NotIn"
        ? !is(key, values)
        : operator === "Exists"
        ? has(key)
        : !has(key)
    );
}

function isPort(cluster: ApiCluster, entry: PortObject, flow: Flow): boolean {
  if ((entry.protocol ?? "TCP") !== flow.protocol) return false;
  const { port, endPort } = entry;
  if (port === undefined) return true;
  if (typeof port === "number") return flow.port >= port && flow.port <= (endPort ?? port);
  const target = ownerOf(cluster, flow.destination);
  return (target?.spec?.containers ?? []).some(({ ports }) =>
    (ports ?? []).some((named) =>
      named.name === port && (named.protocol ?? "TCP") === flow.protocol &&
      named.containerPort === flow.port
    )
  );
}
