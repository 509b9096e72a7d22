/**
 * Policies that probably do not do what was meant. Pure.
 *
 * @module
 */

import {
  bounds,
  type Cidr,
  contains,
  familyOf,
  hostPrefix,
  type Ip,
  ipFromNumber,
} from "../../engine/ip.ts";
import { leaseSubnets } from "../../engine/lease.ts";
import type { Memory } from "../../engine/memory.ts";
import { inScope } from "../../engine/policy/compile.ts";
import { Judge } from "../../engine/policy/decide.ts";
import {
  type Cluster,
  type Direction,
  DIRECTIONS,
  keyOf,
  type Peer,
  type Pod,
  type Policy,
} from "../../engine/policy/model.ts";
import { matches } from "../../engine/policy/selector.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import { peerText, podsText, ruleName } from "../../engine/policy/words.ts";
import type { Finding } from "../finding.ts";

/** All findings, policy by policy. */
export function lintPolicies(
  { cluster }: PolicySnapshot,
  leases: Pick<Memory, "conf" | "leases"> | undefined,
): Finding[] {
  const nodes = leases?.conf.backend.type === "vxlan" ? nodesOf(leases.leases) : [];
  const judge = new Judge(cluster);
  return [...cluster.policies].sort((a, b) => keyOf(a) < keyOf(b) ? -1 : 1).flatMap((policy) => {
    if (policy.fault !== undefined) return [notCompiled(policy, policy.fault)];
    return [
      ...targetFindings(cluster, policy),
      ...typeFindings(policy),
      ...peerFindings(cluster, policy),
      ...portFindings(cluster, policy),
      ...nodeFindings(policy, nodes),
      ...dnsFindings(cluster, judge, policy),
    ];
  });
}

function notCompiled(policy: Policy, fault: string): Finding {
  return {
    id: "not-enforceable",
    subject: keyOf(policy),
    short: "not enforceable",
    what: `it cannot be enforced as it is written: ${fault}`,
    breaks: "its pods are closed in its directions, but for what other policies allow",
    fix: "correct that field:",
    command: edit(policy),
  };
}

function edit({ namespace, name }: Policy): string {
  return `kubectl edit networkpolicy -n ${namespace} ${name}`;
}

/** Pods that the policy selects, and that policies can see. */
function targetsOf({ pods }: Cluster, { namespace, targets }: Policy): Pod[] {
  return pods.filter((pod) => pod.namespace === namespace && matches(targets, pod.labels));
}

function targetFindings(cluster: Cluster, policy: Policy): Finding[] {
  const targets = targetsOf(cluster, policy);
  const hosts = targets.filter(({ hostNetwork }) => hostNetwork);
  const subject = keyOf(policy);
  if (targets.length === 0) {
    return [{
      id: "selects-nothing",
      subject,
      short: "selects nothing",
      what: `its podSelector (${
        podsText(policy.targets)
      }) matches no pod of ${policy.namespace} now`,
      breaks: "it isolates nobody",
      fix: "compare the selector with the labels of the pods:",
      command: `kubectl get pods -n ${policy.namespace} --show-labels`,
    }];
  }
  return hosts.length === 0 ? [] : [{
    id: "host-network-target",
    subject,
    short: "hostNetwork",
    what: `it selects ${hosts.map(({ name }) => name).join(", ")}, which has its node's network`,
    breaks: "no policy holds for such pods: they are not isolated",
    fix: "guard them on their node (a firewall there), or give them a network of their own",
  }];
}

/** What `policyTypes` makes of the sections. */
function typeFindings(policy: Policy): Finding[] {
  const subject = keyOf(policy);
  const inert = (policy.inert ?? []).map((direction): Finding => {
    const type = direction === "ingress" ? "Ingress" : "Egress";
    return {
      id: "inert-section",
      subject,
      short: "inert section",
      what: `it has rules under ${direction}, but policyTypes does not list ${type}`,
      breaks: `these rules do nothing: the policy says nothing about ${direction}`,
      fix: `add ${type} to policyTypes, or take the section away:`,
      command: edit(policy),
    };
  });
  const unasked = policy.ingress?.length === 0 && (policy.egress?.length ?? 0) > 0;
  return !unasked ? inert : [...inert, {
    id: "ingress-closed-too",
    subject,
    short: "ingress closed too",
    what:
      "it allows some egress and has no ingress rule, but its policyTypes have Ingress (which " +
      "is added where policyTypes is left out)",
    breaks: "nothing may reach its pods, but for what other policies allow",
    fix: "if only egress was meant, write policyTypes: [Egress]:",
    command: edit(policy),
  }];
}

function rulesOf(
  policy: Policy,
): { direction: Direction; index: number; peers: readonly Peer[] }[] {
  return DIRECTIONS.flatMap((direction) =>
    (policy[direction] ?? []).map(({ peers = [] }, index) => ({ direction, index, peers }))
  );
}

function peerFindings(cluster: Cluster, policy: Policy): Finding[] {
  const namespaces = new Map(cluster.namespaces.map(({ name, labels }) => [name, labels]));
  const views = cluster.pods.filter(({ hostNetwork }) => !hostNetwork).map((pod) => ({
    pod,
    ips: pod.ips,
    namespace: namespaces.get(pod.namespace),
  }));
  return rulesOf(policy).flatMap(({ direction, index, peers }) =>
    peers.flatMap((peer): Finding[] => {
      if (peer.kind === "block" || views.some((view) => inScope(peer.of, view))) return [];
      const wanted = peer.of.namespaces;
      const nowhere = typeof wanted !== "string" &&
        !cluster.namespaces.some(({ labels }) => matches(wanted, labels));
      return [{
        id: "peer-matches-nothing",
        subject: ruleName(policy, direction, index),
        short: "peer matches nothing",
        what: `${peerText(peer)}: ${nowhere ? "no namespace has such labels" : "no such pod"} now`,
        breaks: "this peer allows nobody",
        fix: nowhere
          ? "a namespace is selected by its labels, its name is kubernetes.io/metadata.name:"
          : "compare it with the labels; a podSelector without a namespaceSelector means its own " +
            "namespace alone:",
        command: nowhere
          ? "kubectl get namespaces --show-labels"
          : "kubectl get pods -A --show-labels",
      }];
    })
  );
}

function portFindings(cluster: Cluster, policy: Policy): Finding[] {
  const targets = targetsOf(cluster, policy);
  return DIRECTIONS.flatMap((direction) =>
    (policy[direction] ?? []).flatMap(({ ports = [] }, index) =>
      ports.flatMap((port): Finding[] => {
        if (port.kind !== "named") return [];
        const pods = direction === "ingress" ? targets : cluster.pods;
        const declared = pods.flatMap((pod) => pod.ports.filter(({ name }) => name === port.name));
        if (declared.some(({ protocol }) => protocol === port.protocol)) return [];
        const other = declared[0]?.protocol;
        const whose = direction === "ingress" ? "pod that it selects" : "pod";
        return [{
          id: "unknown-port-name",
          subject: ruleName(policy, direction, index),
          short: "unknown port name",
          what: other === undefined
            ? `no ${whose} has a container port named ${port.name}`
            : `${port.name} is a port of ${other}, and the rule says ${port.protocol}`,
          breaks: "this port allows nothing",
          fix: "a name is that of a port of the destination's containers, not of a Service:",
          command: edit(policy),
        }];
      })
    )
  );
}

/** A node as it is written, and as pods of other nodes see it. */
interface Seen {
  readonly node: string;
  readonly address: Ip;
  readonly appears: Ip;
}

function nodesOf(leases: Memory["leases"]): Seen[] {
  return leases.flatMap((lease) =>
    leaseSubnets(lease).flatMap((subnet): Seen[] => {
      const family = familyOf(subnet);
      const address = family === 4 ? lease.publicIp : lease.publicIp6;
      if (address === undefined) return [];
      const appears = ipFromNumber(family, bounds(subnet).first);
      return [{ node: lease.node ?? address, address, appears }];
    })
  );
}

function nodeFindings(policy: Policy, nodes: readonly Seen[]): Finding[] {
  return (policy.ingress ?? []).flatMap(({ peers = [] }, index) => {
    const has = (ip: Ip): boolean =>
      peers.some((peer) =>
        peer.kind === "block" && contains(peer.cidr, ip) &&
        !peer.except.some((net: Cidr) => contains(net, ip))
      );
    const lost = nodes.filter(({ address, appears }) => has(address) && !has(appears));
    if (lost.length === 0) return [];
    const use = lost.map(({ appears, node }) => `${hostPrefix(appears)} for ${node}`);
    return [{
      id: "node-address-in-block",
      subject: ruleName(policy, "ingress", index),
      short: "node's address",
      what: `its ipBlock has the address of ${lost.map(({ node }) => node).join(", ")}, but over ` +
        "vxlan a node reaches pods of others with the address of its flannel.1",
      breaks: "what these nodes send to pods of other nodes is denied",
      fix: `add an ipBlock: ${use.join(", ")}:`,
      command: edit(policy),
    }];
  });
}

/** Where the cluster's own name servers are, by the label that all installers give them. */
const DNS_LABEL = ["k8s-app", "kube-dns"] as const;

function dnsFindings(cluster: Cluster, judge: Judge, policy: Policy): Finding[] {
  // A policy that allows nothing means what it says.
  if (policy.egress === undefined || policy.egress.length === 0) return [];
  const [label, value] = DNS_LABEL;
  const servers = cluster.pods.filter((pod) =>
    pod.labels.get(label) === value && !pod.hostNetwork && pod.ips.length > 0
  );
  if (servers.length === 0) return [];
  const shut = targetsOf(cluster, policy).filter((pod) =>
    !pod.hostNetwork && pod.ips.length > 0 &&
    !servers.some((server) =>
      pod.ips.some((source) =>
        server.ips.some((destination) =>
          familyOf(source) === familyOf(destination) &&
          judge.decide({ source, destination, protocol: "UDP", port: 53 }).egress.kind !== "denied"
        )
      )
    )
  );
  if (shut.length === 0) return [];
  return [{
    id: "no-dns",
    subject: keyOf(policy),
    short: "no DNS",
    what:
      `it allows some egress, but ${shut.length === 1 ? shut[0]!.name : `${shut.length} pods`} ` +
      "cannot ask the cluster's name servers (UDP 53)",
    breaks: "names are not found, so connections that are allowed do not come about either",
    fix:
      "allow egress to namespace kube-system, pods k8s-app=kube-dns, UDP and TCP port 53 (with " +
      "node-local DNS: its address):",
    command: edit(policy),
  }];
}
