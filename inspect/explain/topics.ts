/**
 * The topics: what each is for, and which values it has on a node. Pure.
 *
 * @module
 */

import { addressOf, networkOf } from "../../engine/ip.ts";
import { leaseSubnets } from "../../engine/lease.ts";
import type { Finding } from "../finding.ts";
import type { KnownPeer } from "../judge_wanted.ts";
import type { Knowledge } from "../knowledge.ts";
import { addressesOf, linkOf, OVERHEAD, type Overlay, type Vtep } from "../overlay.ts";
import { duration } from "../words.ts";

/** What is known of the node. */
export interface Node {
  readonly overlay: Overlay;
  readonly known: Knowledge;
  readonly peers: readonly KnownPeer[];
  readonly devices: readonly Finding[];
  /** `Date.now()`. */
  readonly now: number;
}

/** A value that a topic has here. */
export type Value = readonly [name: string, value: string];

/** One topic. */
export interface Topic {
  /** One line for the list. */
  readonly brief: string;
  /** Paragraphs. */
  readonly text: readonly string[];
  /** Its values on this node; empty where there are none. */
  readonly here: (node: Node) => readonly Value[];
  /** Commands of inspect that show more. */
  readonly see: readonly string[];
  /** Other words for it. */
  readonly aliases?: readonly string[];
}

function ownVteps({ overlay: { vteps } }: Node): readonly Vtep[] {
  return vteps.filter(({ foreign }) => !foreign);
}

/** A peer that all three tables know, to show entries of. */
function example({ peers }: Node): KnownPeer | undefined {
  return peers.find(({ peer, findings }) => peer.mode === "vxlan" && findings.length === 0);
}

function nameOf({ lease, peer }: KnownPeer): string {
  return lease?.lease.node ?? peer.publicIp ?? "a peer";
}

/** All topics by their names, in the order of the list. */
export const TOPICS: Readonly<Record<string, Topic>> = {
  "subnet.env": {
    brief: "The file by which the daemon tells the plugins this node's subnet",
    text: [
      "The daemon leases a subnet for this node and writes it down when every route to the other " +
      "nodes stands. The flannel plugin reads the file for each pod: without it no pod starts, which " +
      "is why a missing file is the first thing to look for.",
      "FLANNEL_SUBNET is the gateway that the pods' bridge gets, FLANNEL_NETWORK all pods of the " +
      "cluster, FLANNEL_MTU the largest packet of a pod. FLANNEL_IPMASQ says that the daemon hides " +
      "pods' addresses on the way out, so that the plugin must not do it too.",
    ],
    here: ({ overlay: { file } }) =>
      file.kind !== "read" ? [[file.path, file.kind]] : [
        [file.path, "read"],
        ...[file.env.subnet, file.env.subnet6].flatMap((inet): Value[] =>
          inet === undefined ? [] : [["pods of this node", networkOf(inet)], [
            "their gateway",
            addressOf(inet),
          ]]
        ),
        ["FLANNEL_MTU", String(file.env.mtu)],
        ["FLANNEL_IPMASQ", String(file.env.ipMasq)],
      ],
    see: ["subnet"],
    aliases: ["subnet-file", "env"],
  },
  lease: {
    brief: "How a node gets its subnet, and how the others learn of it",
    text: [
      "A lease is a record in the store: this subnet belongs to the node at this address, and its " +
      "VTEP has this MAC address. Each daemon takes a free subnet, keeps the lease alive, and follows " +
      "the leases of all others; routes, neighbours and forwarding entries are made from nothing else.",
      "In etcd a lease lasts a day and is renewed an hour before its end. In the Kubernetes API it is " +
      "the node's podCIDR with annotations, and has no end.",
    ],
    here: ({ known: { leases, daemon }, now }) =>
      leases === undefined ? [["leases", "unknown: the daemon does not answer"]] : [
        ["subnet", leaseSubnets(leases.own).join(", ")],
        ["others reach this node at", leases.own.publicIp ?? leases.own.publicIp6 ?? "unknown"],
        ["ends", leases.ends === undefined ? "never" : `in ${duration(leases.ends - now)}`],
        ["leases in all", String(leases.leases.length)],
        ["told by", daemon === undefined ? leases.from : `${daemon.store.name}, by the daemon`],
      ],
    see: ["leases", "peers"],
    aliases: ["leases", "etcd", "store"],
  },
  vxlan: {
    brief: "How packets of pods travel between nodes",
    text: [
      "The network between the nodes knows nothing of pods. So the node puts the pod's packet, as an " +
      "Ethernet frame, into a UDP packet from node to node; the other end takes it out again. The " +
      "device that does both is the VTEP, and the network's number, the VNI, stands in each packet.",
      "The kernel's port is 8472; the registered one, 4789, came later. A firewall between nodes must " +
      "let this UDP port pass, both ways. The VTEP learns nothing from traffic: whatever it knows of " +
      "other nodes the daemon has told it.",
    ],
    here: (node) =>
      ownVteps(node).flatMap(({ name, vni, port, local, mac, underlay }): Value[] => [
        ["VTEP", `${name}, ${mac ?? "without MAC address"}`],
        ["VNI", String(vni)],
        ["UDP port", String(port)],
        ["outer packets", `from ${local ?? "unknown"} by ${underlay ?? "an unknown link"}`],
      ]),
    see: ["peers", "trace", "capture"],
    aliases: ["overlay", "vtep", "vni", "flannel.1", "8472", "4789"],
  },
  fdb: {
    brief: "Which node a MAC address of the overlay is behind",
    text: [
      "To send a frame to another node's VTEP, this node must know at which address that node is. " +
      "The forwarding database of the VTEP (`bridge fdb`) has one entry for each peer: MAC address " +
      "to node address. Without it frames to that peer are dropped in silence.",
    ],
    here: (node) => {
      const shown = example(node);
      const entries = node.peers.filter(({ peer }) => peer.fdb.length > 0).length;
      return [
        ["entries", `for ${entries} of ${node.peers.length} peers`],
        ...(shown === undefined
          ? []
          : [[nameOf(shown), `${shown.peer.mac} is at ${shown.peer.publicIp}`] as const]),
      ];
    },
    see: ["peers", "trace"],
    aliases: ["forwarding", "bridge-fdb"],
  },
  neighbour: {
    brief: "Which MAC address the gateway of a peer's route has",
    text: [
      "A peer's route leads to an address on the overlay that is the base of the peer's subnet. There " +
      "is no ARP on the overlay: the daemon writes a permanent entry that says which MAC address this " +
      "is, that of the peer's VTEP. The forwarding database then says where that VTEP is.",
    ],
    here: (node) => {
      const shown = example(node);
      const entries = node.peers.filter(({ peer }) => peer.neighbour !== undefined).length;
      return [
        ["entries", `for ${entries} of ${node.peers.length} peers`],
        ...(shown === undefined
          ? []
          : [[nameOf(shown), `${shown.peer.gateway} has ${shown.peer.mac}`] as const]),
      ];
    },
    see: ["peers"],
    aliases: ["neighbor", "arp", "neigh"],
  },
  routes: {
    brief: "How a node tells its own pods from those of others",
    text: [
      "One route for each other node's subnet leads to the VTEP, with the base address of that subnet " +
      "as gateway; `onlink` tells the kernel not to ask how the gateway is reached. The own subnet is " +
      "on the bridge, and all else leaves by the default route.",
      "Routes that twill makes carry protocol number 146, so that others can tell them, and twill " +
      "never touches a route that is not its own.",
    ],
    here: (node) => {
      const shown = example(node);
      const count = node.peers.filter(({ peer }) => peer.route !== undefined).length;
      return [
        ["routes to other nodes", String(count)],
        ...(shown === undefined ? [] : [
          [
            nameOf(shown),
            `${shown.peer.subnet} via ${shown.peer.gateway} dev ${shown.peer.device} onlink`,
          ] as const,
        ]),
      ];
    },
    see: ["routes", "trace"],
    aliases: ["route", "onlink", "146"],
  },
  bridge: {
    brief: "What the pods of a node are plugged into",
    text: [
      "Each pod has one end of a veth pair as its eth0; the other end is a port of the bridge. Pods " +
      "of one node reach each other through it alone. It has the first address of the node's subnet, " +
      "which is the pods' gateway, and the first pod brings it: without pods there is none.",
      "Hairpin mode lets a pod reach itself through its own service's address.",
    ],
    here: ({ overlay: { bridge, facts } }) => {
      if (bridge === undefined) return [["bridge", "none yet: no pod has come"]];
      const addresses = ([4, 6] as const).flatMap((f) => addressesOf(facts, bridge.name, f));
      const ports = facts.filter((fact) => fact.kind === "port" && fact.bridge === bridge.name);
      return [
        ["bridge", bridge.name],
        ["gateway of the pods", addresses.join(", ") || "none"],
        ["ports", String(ports.length)],
      ];
    },
    see: ["pods", "diagram"],
    aliases: ["cni0", "veth", "hairpin"],
  },
  mtu: {
    brief: "Why pods may send smaller packets than nodes",
    text: [
      "The outer headers take room: IP 20 bytes (IPv6 40), UDP 8, VXLAN 8 and the inner Ethernet " +
      "header 14. A pod's packet must be smaller by that sum than what the link between the nodes " +
      "takes. Where it is not, small packets arrive and large ones do not: a connection opens, then " +
      "hangs.",
      "The daemon takes the uplink's MTU, subtracts, and tells the plugins by FLANNEL_MTU. Pods keep " +
      "the value that they started with.",
    ],
    here: (node) => {
      const { overlay: { facts, file } } = node;
      return [
        ...ownVteps(node).flatMap(({ name, family, underlay, mtu }): Value[] => {
          const below = underlay === undefined ? undefined : linkOf(facts, underlay)?.mtu;
          return [
            ...(below === undefined ? [] : [
              [
                "largest packet of the VTEP",
                `${underlay} ${below} - ${OVERHEAD[family]} = ${below - OVERHEAD[family]}`,
              ] as const,
            ]),
            [name, String(mtu ?? "unknown")],
          ];
        }),
        ...(file.kind === "read" ? [["pods", String(file.env.mtu)] as const] : []),
      ];
    },
    see: ["status", "check"],
    aliases: ["fragmentation", "1450"],
  },
  masquerade: {
    brief: "With which address pods are seen outside",
    text: [
      "Outside the cluster nobody knows a way back to a pod. So a packet that leaves the pods' network " +
      "gets its node's address as source, and the answer is turned back. Between pods, also of " +
      "different nodes, addresses stay as they are.",
      "Only one may do it: the daemon (--ip-masq, which FLANNEL_IPMASQ=true tells the plugins), or the " +
      "plugin. Twice is harmless but confusing; never means that pods do not reach the world.",
    ],
    here: ({ overlay: { networks, file }, known: { daemon } }) => [
      ["addresses that stay", networks.join(", ") || "unknown"],
      [
        "done by",
        (daemon?.masquerade ?? (file.kind === "read" && file.env.ipMasq))
          ? "the daemon"
          : "nobody, unless the plugin's configuration says ipMasq",
      ],
    ],
    see: ["rules", "trace"],
    aliases: ["nat", "snat", "ip-masq", "ipmasq"],
  },
  "host-ports": {
    brief: "How a port of the node leads to a pod",
    text: [
      "A pod that asks for a host port is reached at the node's own address. The portmap plugin, or " +
      "flannel's with `portMappings`, writes a rule that changes the destination to the pod's address " +
      "and port; packets that come from the pod itself, or by 127.0.0.1, are masqueraded so that the " +
      "answer finds back. DEL of the pod takes its rules away.",
      "This is not a NodePort: services are kube-proxy's.",
    ],
    here: () => [],
    see: ["rules", "trace"],
    aliases: ["hostport", "hostports", "portmap", "dnat"],
  },
  cni: {
    brief: "What the container runtime calls for each pod",
    text: [
      "The runtime takes the first file of /etc/cni/net.d, in the order of names, and calls the " +
      "plugins that it names: ADD when a pod starts, DEL when it ends. flannel reads subnet.env and " +
      "hands on to bridge, which asks host-local for an address and plugs the pod in.",
      "Here all of these are one program. The files in /opt/cni/bin are small clients of the daemon; " +
      "when it does not answer, they start the program themselves, so that a pod starts either way.",
    ],
    here: ({ known: { daemon }, now }) =>
      daemon === undefined ? [["calls served by the daemon", "unknown: it does not answer"]] : [
        ["calls served by the daemon", String(daemon.plugins.served)],
        [
          "the last one",
          daemon.plugins.lastServed === undefined
            ? "none yet"
            : `${duration(now - daemon.plugins.lastServed)} ago`,
        ],
        ...Object.entries(daemon.plugins.left).map(([why, count]): Value => [
          "left to the client",
          `${count}: ${why}`,
        ]),
      ],
    see: ["pods", "check", "status"],
    aliases: ["plugin", "plugins", "conflist", "host-local", "ipam"],
  },
  policy: {
    brief: "What NetworkPolicy allows, and who enforces it",
    text: [
      "A NetworkPolicy names pods, and what may reach them or what they may reach. A pod that no " +
      "policy names is open; one that is named is closed but for what its policies allow together. " +
      "flannel ignores policies. twill's daemon enforces them in one nftables table where it knows " +
      "the Kubernetes API: for the pods of its own node, and before a new pod's first packet.",
    ],
    here: ({ known: { daemon } }) =>
      daemon === undefined ? [["enforcement", "unknown: the daemon does not answer"]] : [
        ["enforcement", daemon.policy.state],
        ...daemon.policy.reasons.map((reason): Value => ["why", reason]),
        ["policies of the cluster", String(daemon.policy.policies)],
        ["pods here that some policy names", String(daemon.policy.isolated)],
      ],
    see: ["status", "rules"],
    aliases: ["networkpolicy", "network-policy", "firewall"],
  },
  "host-gw": {
    brief: "Routes between nodes without encapsulation",
    text: [
      "With the host-gw backend, or DirectRouting of vxlan, a peer on the same link is reached by a " +
      "plain route with the node's own address as gateway: no VTEP, no outer headers, the full MTU. " +
      "It needs nodes that are neighbours on one network which lets pods' addresses pass.",
    ],
    here: ({ known: { leases }, peers }) => [
      ["backend", leases?.conf.backend.type ?? "unknown: the daemon does not answer"],
      [
        "peers without encapsulation",
        `${peers.filter(({ peer }) => peer.mode === "direct").length} of ${peers.length}`,
      ],
    ],
    see: ["routes", "peers"],
    aliases: ["hostgw", "directrouting", "direct"],
  },
};

/** The topic of that name, or of one of its other names. */
export function findTopic(word: string): string | undefined {
  const wanted = word.toLowerCase().replace(/[ _]/g, "-");
  return Object.keys(TOPICS).find((name) =>
    name === wanted || TOPICS[name]?.aliases?.includes(wanted) === true
  );
}

/** Names that are near a word that is none: of the same beginning, or two letters apart. */
export function near(word: string, names: readonly string[]): string[] {
  const typed = word.toLowerCase();
  return names.filter((name) =>
    typed.length > 1 && (name.startsWith(typed) || typed.startsWith(name)) ||
    distance(typed, name) <= (typed.length < 4 ? 1 : 2)
  );
}

/** Levenshtein's: insertions, deletions and replacements. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
