/**
 * The leases that the nodes of a cluster tell, kept up to date node by node.
 *
 * @module
 */

import { type Cidr } from "../../engine/ip.ts";
import { type Lease, leaseSubnets } from "../../engine/lease.ts";
import { type AnnotationKeys, nodeLease } from "../../engine/lease_annotations.ts";
import type { NetConf } from "../../engine/net_conf.ts";
import type { KubeNode } from "./kube_node.ts";
import type { BadRecord } from "./store.ts";

interface Entry {
  readonly node: KubeNode;
  readonly lease?: Lease;
  readonly problems: readonly string[];
}

/** What a snapshot is made of. */
export interface KubeContents {
  /** Unchanged ones are the same objects as before. */
  readonly leases: readonly Lease[];
  readonly bad: readonly BadRecord[];
}

/** See the module. */
export class KubeView {
  readonly #conf: NetConf;
  readonly #keys: AnnotationKeys;
  readonly #told: (bad: BadRecord) => void;
  readonly #entries = new Map<string, Entry>();
  /** What was told of each node. */
  readonly #said = new Set<string>();

  /** @param told called once for each node of which something cannot be used, and when that changes */
  constructor(conf: NetConf, keys: AnnotationKeys, told: (bad: BadRecord) => void) {
    this.#conf = conf;
    this.#keys = keys;
    this.#told = told;
  }

  /** A node as it is now; undefined: it is gone. */
  put(name: string, node: KubeNode | undefined): void {
    const before = this.#entries.get(name);
    const now = node && nodeLease(node, this.#conf, this.#keys, before?.lease);
    if (node === undefined || now === undefined) {
      this.#entries.delete(name);
      return;
    }
    const { problems } = now;
    const lease = same(before?.lease, now.lease) ? before?.lease : now.lease;
    this.#entries.set(name, { node, problems, ...(lease && { lease }) });
  }

  /** All leases, and what is wrong. Of two nodes with one subnet the older one counts. */
  contents(): KubeContents {
    const bad: BadRecord[] = [];
    const holders = new Map<Cidr, Entry>();
    const entries = [...this.#entries.values()];
    for (const entry of entries) {
      for (const reason of entry.problems) bad.push({ key: `node ${entry.node.name}`, reason });
      for (const subnet of entry.lease === undefined ? [] : leaseSubnets(entry.lease)) {
        const holder = holders.get(subnet);
        if (holder === undefined || isOlder(entry, holder)) holders.set(subnet, entry);
      }
    }
    const leases = entries.flatMap((entry) => {
      if (entry.lease === undefined) return [];
      const lost = leaseSubnets(entry.lease).find((subnet) => holders.get(subnet) !== entry);
      if (lost === undefined) return [entry.lease];
      const reason = `${lost} is also the podCIDR of node ${holders.get(lost)!.node.name}`;
      bad.push({ key: `node ${entry.node.name}`, reason });
      return [];
    });
    this.#tell(bad);
    return { leases, bad };
  }

  #tell(bad: readonly BadRecord[]): void {
    const now = new Map(bad.map(({ key, reason }) => [`${key} ${reason}`, { key, reason }]));
    for (const said of this.#said) if (!now.has(said)) this.#said.delete(said);
    for (const [words, record] of now) {
      if (this.#said.has(words)) continue;
      this.#said.add(words);
      this.#told(record);
    }
  }
}

function isOlder(a: Entry, b: Entry): boolean {
  const [x, y] = [a.node.created, b.node.created];
  return x === y ? a.node.name < b.node.name : x < y;
}

function same(a: Lease | undefined, b: Lease | undefined): boolean {
  return a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b);
}
