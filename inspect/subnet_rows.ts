/**
 * The rows of the subnet file itself: what each value means. Pure.
 *
 * @module
 */

import {
  addressOf,
  type Cidr,
  FAMILIES,
  type Family,
  type Inet,
  lengthOf,
  networkOf,
} from "../engine/ip.ts";
import type { SubnetEnv } from "../engine/subnet_env.ts";
import type { Finding } from "./finding.ts";
import type { SubnetFile } from "./overlay.ts";

/** One value, where it comes from, and what was found about it. */
export interface SubnetRow {
  /** A key of the file, or `DEVICE:WHAT`. */
  readonly name: string;
  readonly value: string;
  /** `kernel`: the name begins with the device. `conflist`: the plugins' configuration. */
  readonly source: "file" | "kernel" | "store" | "conflist";
  /** `unchecked`: there is nothing to compare it with. */
  readonly status: "ok" | "wrong" | "unchecked";
  readonly meaning: string;
}

/** Rows and what is wrong with them. */
export interface Judgement {
  readonly rows: readonly SubnetRow[];
  readonly findings: readonly Finding[];
}

/** What the file tells, with the rows that say so. */
export interface Told {
  readonly rows: readonly SubnetRow[];
  /** Bytes. */
  readonly mtu: number;
  /** The families that have a subnet. */
  readonly families: readonly {
    readonly family: Family;
    readonly subnet: Inet;
    readonly networks: readonly Cidr[];
    readonly subnetKey: string;
    readonly networkKey: string;
  }[];
}

const KEYS = {
  4: { networkKey: "FLANNEL_NETWORK", subnetKey: "FLANNEL_SUBNET" },
  6: { networkKey: "FLANNEL_IPV6_NETWORK", subnetKey: "FLANNEL_IPV6_SUBNET" },
} as const satisfies Record<Family, { networkKey: string; subnetKey: string }>;

/** Explains a subnet file. */
export function toldBy(env: SubnetEnv): Told {
  const source = "file" as const;
  const all = [
    { family: 4 as const, subnet: env.subnet, networks: env.networks },
    { family: 6 as const, subnet: env.subnet6, networks: env.networks6 },
  ].map((one) => ({ ...one, ...KEYS[one.family] }));
  const rows = all.flatMap(({ family, subnet, networks, subnetKey, networkKey }): SubnetRow[] => [
    ...(networks.length === 0 ? [] : [{
      name: networkKey,
      value: networks.join(","),
      source,
      status: "ok" as const,
      meaning: "addresses of all pods of the cluster",
    }]),
    ...(subnet === undefined ? [] : [{
      name: subnetKey,
      value: subnet,
      source,
      status: "ok" as const,
      meaning: `pods of this node: ${networkOf(subnet)}, ${room(subnet, family)}; ` +
        `${addressOf(subnet)} is their gateway`,
    }]),
  ]);
  const families = all.flatMap(({ subnet, ...rest }) =>
    subnet === undefined ? [] : [{ ...rest, subnet }]
  );
  return {
    rows: [...rows, {
      name: "FLANNEL_MTU",
      value: String(env.mtu),
      source,
      status: "ok",
      meaning: "largest packet that a pod may send, bytes",
    }, {
      name: "FLANNEL_IPMASQ",
      value: String(env.ipMasq),
      source,
      status: "unchecked",
      meaning: env.ipMasq
        ? "the daemon hides pod addresses behind the node's on the way out; the plugin must not"
        : "nobody hides pod addresses on the way out, unless the plugin is told to",
    }],
    mtu: env.mtu,
    families,
  };
}

/** How many pods a subnet has room for: not its base, its gateway, nor (IPv4) its broadcast. */
function room(subnet: Inet, family: Family): string {
  const bits = FAMILIES[family].bits - lengthOf(subnet);
  if (bits > 20) return "more than a million addresses";
  return `room for ${Math.max(0, 2 ** bits - (family === 4 ? 3 : 2))}`;
}

/** What is wrong when the file tells nothing. */
export function fileFinding(file: SubnetFile): Judgement {
  const rows: SubnetRow[] = [];
  if (file.kind === "missing") {
    return {
      rows,
      findings: [{
        id: "no-subnet-file",
        subject: file.path,
        short: "missing",
        what: "the file does not exist: the daemon has not been ready since the node started",
        breaks: "no pod can be started here: the plugin has no subnet to take addresses from",
        fix: "see whether the daemon runs, and its log",
      }],
    };
  }
  if (file.kind === "damaged") {
    return {
      rows,
      findings: [{
        id: "damaged-subnet-file",
        subject: file.path,
        short: "damaged",
        what: file.reason,
        breaks: "no pod can be started here: the plugin refuses the file",
        fix: "remove the file and restart the daemon, which writes it again",
      }],
    };
  }
  return { rows, findings: [] };
}
