/**
 * The mechanical variety of Cyclonus: one base policy, in which each peer, each pair of peers and
 * each kind of port takes the place of the base's, in either direction.
 *
 * @module
 */

import assert from "node:assert/strict";
import { policyObject, Scene, SERVED } from "./language.ts";
import { type ApiCluster, egressAllows, ingressAllows } from "./naive.ts";
import { Nodes } from "./nodes.ts";

const PEERS = [
  "P(all)",
  "P(pod=c)",
  "N(all)",
  "N(all)+P(all)",
  "N(all)+P(pod=c)",
  "N(ns=x)",
  "N(ns=x)+P(all)",
  "N(ns=x)+P(pod=c)",
  "IP(10.244.1.0/24)",
  "IP(10.244.0.0/16 except 10.244.1.16/28)",
];
const PAIRS = PEERS.flatMap((a, i) => PEERS.slice(i + 1).map((b) => `${a} OR ${b}`));

const PROTOCOLS = ["(unset)", "TCP", "UDP", "SCTP"];
const PORTS = [
  ...PROTOCOLS.flatMap((protocol) => ["any", "80", "81"].map((port) => `${protocol}/${port}`)),
  ...SERVED.map(({ protocol, name }) => `${protocol}/${name}`),
  ...["TCP", "UDP", "SCTP"].flatMap((protocol) => [`${protocol}/53-80`, `${protocol}/53-84`]),
];

const BASE = {
  in: "N(ns in (x,y))+P(pod in (b,c)) @ TCP/80",
  out: "N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
} as const;

const ROWS = (["in", "out"] as const).flatMap((direction) => {
  const [peer = "", port = ""] = BASE[direction].split(" @ ");
  return [
    ...[...PEERS, ...PAIRS].map((peers) => ({ direction, rule: `${peers} @ ${port}` })),
    ...PORTS.map((ports) => ({ direction, rule: `${peer} @ ${ports}` })),
  ];
});

for (const { direction, rule } of ROWS) {
  Deno.test(`base policy, but ${direction}: ${rule}`, () => {
    const scene = new Scene();
    const rules = { ...BASE, [direction]: rule };
    const words = `x/p on pod=a types Ingress+Egress; in: ${rules.in}; out: ${rules.out}`;
    const cluster: ApiCluster = {
      namespaces: [...scene.namespaces.values()],
      pods: [...scene.pods.values()],
      policies: [policyObject(words)],
    };
    const nodes = new Nodes(["node1", "node2"]);
    nodes.update(cluster);
    const ips = cluster.pods.map(({ status }) => status?.podIP ?? "");
    const own = ips[0] ?? "";
    // All that involves the target, and one pair that does not.
    const pairs = [
      ...ips.flatMap((ip) => [[own, ip], [ip, own]]),
      [ips[1], ips[2]],
    ] as [string, string][];
    for (const [source, destination] of pairs) {
      for (const { protocol, port } of SERVED) {
        const flow = { source, destination, protocol, port };
        const want = egressAllows(cluster, flow) && ingressAllows(cluster, flow);
        assert.equal(nodes.open(flow), want, JSON.stringify(flow));
      }
    }
  });
}
