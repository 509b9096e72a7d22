/**
 * The subnet file against what the store says, and against the plugins' configuration. Pure.
 *
 * @module
 */

import { networkOf } from "../engine/ip.ts";
import { enabledFamilies } from "../engine/net_conf.ts";
import type { Finding } from "./finding.ts";
import type { Knowledge } from "./knowledge.ts";
import type { Overlay } from "./overlay.ts";
import { type Judgement, type SubnetRow, toldBy } from "./subnet_rows.ts";

/** A file of the runtime's directory of networks. */
export interface NetworkFile {
  readonly path: string;
  readonly text: string;
}

/** Compares; nothing where there is no subnet file. @param files in the runtime's order */
export function judgeBeyond(
  overlay: Overlay,
  known: Knowledge,
  files: readonly NetworkFile[],
): Judgement {
  const parts = [storePart(overlay, known), filesPart(overlay, files)];
  return {
    rows: parts.flatMap(({ rows }) => rows),
    findings: parts.flatMap(({ findings }) => findings),
  };
}

const NOTHING: Judgement = { rows: [], findings: [] };

function storePart({ file }: Overlay, { leases }: Knowledge): Judgement {
  if (file.kind !== "read" || leases === undefined) return NOTHING;
  const rows: SubnetRow[] = [];
  const findings: Finding[] = [];
  const told = toldBy(file.env);
  for (const family of enabledFamilies(leases.conf)) {
    const here = told.families.find((one) => one.family === family);
    const leased = family === 4 ? leases.own.subnet : leases.own.subnet6;
    const { network } = leases.conf.families[family];
    const same = leased !== undefined && here !== undefined && networkOf(here.subnet) === leased;
    rows.push({
      name: `lease:IPv${family}`,
      value: leased ?? "none",
      source: "store",
      status: same ? "ok" : "wrong",
      meaning: `the subnet that the store has for this node (${leases.from})`,
    });
    if (!same) {
      findings.push({
        id: "lease-differs",
        subject: here?.subnetKey ?? file.path,
        short: "differs from the lease",
        what: `the file says ${
          here === undefined ? "nothing" : networkOf(here.subnet)
        }, the lease ${leased ?? "nothing"}`,
        breaks: "new pods get addresses for which other nodes have no route to here",
        fix: "twill's daemon writes the file again by itself while it runs: see whether it does",
      });
    }
    if (network === undefined) continue;
    const within = here?.networks.includes(network) === true;
    rows.push({
      name: `config:IPv${family}`,
      value: network,
      source: "store",
      status: within ? "ok" : "wrong",
      meaning: "addresses of all pods, as the network configuration says",
    });
    if (!within) {
      findings.push({
        id: "network-differs",
        subject: here?.networkKey ?? file.path,
        short: "differs from the configuration",
        what: `the file says ${
          here?.networks.join(",") ?? "nothing"
        }, the configuration ${network}`,
        breaks: "masquerade and forwarding treat some pods as strangers",
        fix: "the configuration was changed: restart twill's daemon on every node",
      });
    }
  }
  return { rows, findings };
}

function filesPart({ file }: Overlay, files: readonly NetworkFile[]): Judgement {
  if (file.kind !== "read") return NOTHING;
  for (const { path, text } of files) {
    const plugin = flannelIn(text);
    if (plugin === undefined) continue;
    const findings = pluginFindings(plugin, path, file.path, file.env.mtu);
    return {
      rows: [{
        name: path.split("/").at(-1) ?? path,
        value: plugin.subnetFile ?? "/run/flannel/subnet.env",
        source: "conflist",
        status: findings.length > 0 ? "wrong" : "ok",
        meaning: "the file that the plugin reads for each pod",
      }],
      findings,
    };
  }
  return NOTHING;
}

interface Flannel {
  readonly subnetFile?: string;
  readonly mtu?: number;
}

/** What a network's file says to the plugin `flannel`; undefined when it does not name it. */
function flannelIn(text: string): Flannel | undefined {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { plugins, type } = (list ?? {}) as { readonly plugins?: unknown; readonly type?: unknown };
  const all: readonly unknown[] = Array.isArray(plugins)
    ? plugins
    : type === undefined
    ? []
    : [list];
  const found = all.find((one) => (one as { readonly type?: unknown } | null)?.type === "flannel");
  if (found === undefined) return undefined;
  const { subnetFile, delegate } = found as Readonly<Record<string, unknown>>;
  const mtu = (delegate as { readonly mtu?: unknown } | undefined)?.mtu;
  return {
    ...(typeof subnetFile === "string" ? { subnetFile } : {}),
    ...(typeof mtu === "number" ? { mtu } : {}),
  };
}

function pluginFindings(
  { subnetFile = "/run/flannel/subnet.env", mtu }: Flannel,
  path: string,
  file: string,
  most: number,
): Finding[] {
  const findings: Finding[] = [];
  if (subnetFile !== file) {
    findings.push({
      id: "other-subnet-file",
      subject: path,
      short: "another file",
      what: `the plugin reads ${subnetFile}, and this is ${file}`,
      breaks: "pods get their subnet from a file that this daemon does not write",
      fix: `set "subnetFile" of the plugin, or --subnet-file of the daemon, so that they agree`,
    });
  }
  if (mtu !== undefined && mtu > most) {
    findings.push({
      id: "delegate-mtu",
      subject: path,
      short: "MTU too large",
      what: `it gives pods an MTU of ${mtu}, and packets of more than ${most} do not pass`,
      breaks: "large packets to pods of other nodes are lost",
      fix: `remove "mtu" of the delegate: the plugin then takes FLANNEL_MTU`,
    });
  }
  return findings;
}
