/**
 * Random clusters, small and full of trouble: few addresses for many pods, few labels for many
 * selectors, names of ports that mean different things in different pods.
 *
 * @module
 */

import fc from "fast-check";
import type { MetadataObject, PodObject } from "../../../engine/policy/read_objects.ts";
import type {
  PeerObject,
  PolicyObject,
  PortObject,
  RuleObject,
  SelectorObject,
} from "./language.ts";
import type { ApiCluster, Flow } from "./naive.ts";

/** The nodes of every cluster. */
export const NODE_NAMES = ["n1", "n2"] as const;

const NAMESPACES = ["x", "y", "z"] as const;
const KEYS = ["app", "tier"] as const;
const VALUES = ["a", "b", ""] as const;
const PORT_NAMES = ["web", "dns"] as const;
const PROTOCOL_NAMES = ["TCP", "UDP", "SCTP"] as const;
const PORTS = [53, 80, 81] as const;
const IPS = [
  ["10.0.0.1", "fd00::1"],
  ["10.0.0.2", "fd00::2"],
  ["10.0.0.3", "fd00::3"],
  ["10.0.1.1", "fd00::1:1"],
  ["10.0.1.2", "fd00::1:2"],
] as const;
/** Of nobody. */
const OUTSIDE = [["192.0.2.1", "2001:db8::1"]] as const;
const CIDRS = ["10.0.0.0/24", "10.0.0.2/31", "0.0.0.0/0", "192.0.2.1/32", "fd00::/16", "::/0"];
const EXCEPTS: Readonly<Record<string, readonly string[]>> = {
  "10.0.0.0/24": ["10.0.0.1/32", "10.0.0.0/30", "10.0.0.3/32"],
  "0.0.0.0/0": ["10.0.0.0/8", "10.0.0.2/32", "192.0.2.0/24"],
  "fd00::/16": ["fd00::2/128", "fd00::/112"],
  "::/0": ["fd00::/112"],
};

/** An arbitrary object in which each member may be missing. */
function partly<T extends object>(members: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<
  Partial<T>
> {
  return fc.record(members, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
}

const labels = fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES), {
  noNullPrototype: true,
});

const selector: fc.Arbitrary<SelectorObject> = partly<Required<SelectorObject>>({
  matchLabels: fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES), {
    maxKeys: 1,
    noNullPrototype: true,
  }),
  matchExpressions: fc.array(
    fc.constantFrom("In", "NotIn", "Exists", "DoesNotExist").chain((operator) =>
      fc.record({
        key: fc.constantFrom(...KEYS),
        operator: fc.constant(operator),
        ...(operator.endsWith("In")
          ? { values: fc.array(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 2 }) }
          : {}),
      })
    ),
    { maxLength: 2 },
  ),
});

const block = fc.constantFrom(...CIDRS).chain((cidr) =>
  fc.record({ cidr: fc.constant(cidr), except: fc.subarray([...EXCEPTS[cidr] ?? []]) })
);

const peer: fc.Arbitrary<PeerObject> = fc.oneof(
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: selector }),
  fc.record({ namespaceSelector: selector, podSelector: selector }),
  fc.record({ ipBlock: block }),
);

const port: fc.Arbitrary<PortObject> = fc.oneof(
  partly<Required<Omit<PortObject, "endPort">>>({
    protocol: fc.constantFrom(...PROTOCOL_NAMES),
    port: fc.constantFrom<number | string>(...PORTS, ...PORT_NAMES, "nosuch"),
  }),
  fc.record({
    protocol: fc.constantFrom(...PROTOCOL_NAMES),
    port: fc.constantFrom(1, 53, 80),
    endPort: fc.constantFrom(80, 81, 65535),
  }),
);

function rules(side: "from" | "to"): fc.Arbitrary<RuleObject[]> {
  const rule = partly({
    [side]: fc.array(peer, { maxLength: 3 }),
    ports: fc.array(port, { maxLength: 3 }),
  }) as fc.Arbitrary<RuleObject>;
  return fc.array(rule, { maxLength: 2 });
}

const policy: fc.Arbitrary<PolicyObject> = fc.record({
  apiVersion: fc.constant("networking.k8s.io/v1" as const),
  kind: fc.constant("NetworkPolicy" as const),
  metadata: fc.record({
    name: fc.constantFrom("p", "q", "r"),
    namespace: fc.constantFrom(...NAMESPACES),
  }),
  spec: fc.record({
    podSelector: selector,
    policyTypes: fc.constantFrom(["Ingress"], ["Egress"], ["Ingress", "Egress"]),
    ingress: rules("from"),
    egress: rules("to"),
  }),
});

const pod: fc.Arbitrary<PodObject> = fc.record({
  place: fc.tuple(fc.constantFrom(...NAMESPACES), fc.constantFrom("a", "b", "c")),
  labels,
  node: fc.constantFrom(...NODE_NAMES),
  hostNetwork: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  phase: fc.constantFrom("Running", "Running", "Running", "Pending", "Succeeded", "Failed"),
  terminating: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
  created: fc.integer({ min: 0, max: 2 }),
  ips: fc.constantFrom<readonly string[]>(...IPS, []),
  ports: fc.array(
    fc.record({
      name: fc.constantFrom(...PORT_NAMES),
      protocol: fc.constantFrom(...PROTOCOL_NAMES),
      containerPort: fc.constantFrom(...PORTS),
    }),
    { maxLength: 3 },
  ),
}).map(({ place: [namespace, name], labels, terminating, created, ips, ports, ...rest }) => ({
  metadata: {
    name,
    namespace,
    uid: `${namespace}/${name}`,
    labels,
    creationTimestamp: `2026-01-0${created + 1}T00:00:00Z`,
    ...(terminating ? { deletionTimestamp: "2026-02-01T00:00:00Z" } : {}),
  },
  spec: { nodeName: rest.node, hostNetwork: rest.hostNetwork, containers: [{ ports }] },
  status: { phase: rest.phase, podIPs: ips.map((ip) => ({ ip })) },
}));

const namespace: fc.Arbitrary<MetadataObject> = fc.record({
  metadata: fc.record({ name: fc.constantFrom(...NAMESPACES), labels }),
});

function keyOf({ metadata }: MetadataObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** A cluster. */
export const cluster: fc.Arbitrary<ApiCluster> = fc.record({
  namespaces: fc.uniqueArray(namespace, { selector: keyOf, maxLength: 3 }),
  pods: fc.uniqueArray(pod, { selector: keyOf, maxLength: 9 }),
  policies: fc.uniqueArray(policy, { selector: keyOf, maxLength: 4 }),
});

/** A cluster, and how it goes on: each time some of its objects are others. */
export const history: fc.Arbitrary<ApiCluster[]> = fc.tuple(
  cluster,
  fc.array(cluster, { maxLength: 3 }),
).map(([first, rest]) => {
  const all = [first];
  for (const next of rest) {
    const before = all.at(-1) ?? first;
    // What the next has is new; of what it does not have, half is gone.
    const merge = <T extends MetadataObject>(old: readonly T[], now: readonly T[]): T[] => {
      const keys = new Set(now.map(keyOf));
      return [...old.filter((one, i) => !keys.has(keyOf(one)) && i % 2 === 0), ...now.slice(0, 2)];
    };
    all.push({
      namespaces: merge(before.namespaces, next.namespaces),
      pods: merge(before.pods, next.pods),
      policies: merge(before.policies, next.policies),
    });
  }
  return all;
});

/** Every connection between the addresses that clusters have, in both families. */
export const FLOWS: readonly Flow[] = [0, 1].flatMap((family) => {
  const ips = [...IPS, ...OUTSIDE].map((pair) => pair[family]!);
  return ips.flatMap((source) =>
    ips.flatMap((destination) =>
      PROTOCOL_NAMES.flatMap((protocol) =>
        PORTS.map((port) => ({ source, destination, protocol, port }))
      )
    )
  );
});
