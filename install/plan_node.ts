/**
 * What goes of a node's network state. Pure.
 *
 * @module
 */

import { type Fact, type LinkFact, type RouteFact, TWILL_PROTOCOL } from "../engine/fact.ts";
import { addressOf, type Cidr, contains, familyOf, lengthOf } from "../engine/ip.ts";
import { parseListing } from "../engine/rules/nft_listing.ts";
import { readPreviousEnv } from "../engine/subnet_env.ts";
import type { Inventory, NodeState } from "./inventory.ts";
import { iptablesRemovals } from "./iptables.ts";
import { nameOf, UNIT } from "./layout.ts";
import type { Removal, RemovalPlan } from "./removal.ts";

/** nft tables that nobody else fills: ours, one for each daemon, and those of flannel's. */
const OWN_TABLES = /^inet twill(?:-.+)?$/;
const FLANNEL_TABLES = ["ip flannel-ipv4", "ip6 flannel-ipv6"];

/** What flannel's daemons call their devices, and what kind each is. */
const DEVICES: readonly (readonly [name: RegExp, kind: string])[] = [
  [/^flannel(?:-v6)?\.\d+$/, "vxlan"],
  [/^flannel-wg(?:-v6)?$/, "wireguard"],
  [/^flannel\.ipip$/, "ipip"],
  [/^flannel\d+$/, "tun"],
];

/** `RTPROT_BOOT`, linux/rtnetlink.h: what flannel's own routes say. */
const BOOT = 3;

/** The pid of flannel's daemon, if it runs in this network. */
export function flanneldOf({ processes }: NodeState): number | undefined {
  return processes.find(({ words }) => nameOf(words[0] ?? "") === "flanneld")?.pid;
}

/** Plans for everything but files. */
export function planNode(
  inventory: Inventory,
  node: NodeState,
  force: boolean,
): RemovalPlan {
  const { network, receipt } = inventory;
  const { facts, tables } = node;
  const blockers = node.processes
    .filter(({ words, cgroup }) =>
      nameOf(words[0] ?? "") === "twill" && words[1] === "daemon" && !cgroup.includes(`/${UNIT}`)
    )
    .map(({ pid }) =>
      `twill daemon runs (pid ${pid}), and would make all of it again: stop it first`
    );
  const pods = podsOn(facts, network.bridge);
  if (pods.length > 0 && !force) {
    blockers.push(
      `${pods.length === 1 ? "a pod is" : `${pods.length} pods are`} alive on ${network.bridge} ` +
        `(${pods.slice(0, 5).map(({ name }) => name).join(", ")}${
          pods.length > 5 ? ", …" : ""
        }), ` +
        `and their deletion needs the plugins: drain the node first, or use --force`,
    );
  }
  const ownTables = tables.filter((table) => OWN_TABLES.test(table)).map(wholeTable);
  const flanneld = flanneldOf(node);
  if (flanneld !== undefined) {
    return {
      removals: ownTables,
      kept: [
        `devices, routes, rules and state are those of flanneld, which runs (pid ${flanneld})`,
      ],
      blockers,
    };
  }
  const { devices, strange } = devicesOf(facts);
  const links = [...pods, ...devices, ...bridgeOf(facts, network.bridge)];
  const gone = new Set(links.map(({ name }) => name));
  const routes = routesOf(facts, inventory.subnetEnv, gone);
  return {
    removals: [
      ...[...routes, ...links].map((fact) => ({ kind: "kernel", fact }) as const),
      ...ownTables,
      ...tables.filter((table) => FLANNEL_TABLES.includes(table)).map(wholeTable),
      ...[...node.shared].flatMap(([table, listing]) => sharedTable(table, listing, inventory)),
      ...node.iptables.flatMap((view) => iptablesRemovals(view, network.name, receipt?.tables)),
    ],
    kept: strange.map(({ name }) => `device ${name}: of another kind than flannel's`),
    blockers,
  };
}

/** The node's ends of the pods on a bridge. */
function podsOn(facts: readonly Fact[], bridge: string): LinkFact[] {
  const ports = new Set(
    facts.flatMap((fact) => fact.kind === "port" && fact.bridge === bridge ? [fact.dev] : []),
  );
  return linksOf(facts).filter(({ name, driver }) => driver.kind === "veth" && ports.has(name));
}

function linksOf(facts: readonly Fact[]): LinkFact[] {
  return facts.filter((fact): fact is LinkFact => fact.kind === "link");
}

function kindOf({ driver }: LinkFact): string {
  return driver.kind === "other" ? driver.name : driver.kind;
}

function devicesOf(facts: readonly Fact[]): { devices: LinkFact[]; strange: LinkFact[] } {
  const named = linksOf(facts).flatMap((link) => {
    const row = DEVICES.find(([pattern]) => pattern.test(link.name));
    return row === undefined ? [] : [{ link, fits: kindOf(link) === row[1] }];
  });
  const pick = (want: boolean): LinkFact[] =>
    named.filter(({ fits }) => fits === want).map(({ link }) => link);
  return { devices: pick(true), strange: pick(false) };
}

/** The bridge, unless something that is no pod's hangs on it. */
function bridgeOf(facts: readonly Fact[], name: string): LinkFact[] {
  const pods = podsOn(facts, name).map((pod) => pod.name);
  const others = facts.some((fact) =>
    fact.kind === "port" && fact.bridge === name && !pods.includes(fact.dev)
  );
  return others
    ? []
    : linksOf(facts).filter((link) => link.name === name && link.driver.kind === "bridge");
}

/** Ours by their number; flannel's to subnets inside its network. Those of a device go with it. */
function routesOf(
  facts: readonly Fact[],
  subnetEnv: string,
  gone: ReadonlySet<string>,
): RouteFact[] {
  const networks = networksIn(subnetEnv);
  const isFlannels = ({ protocol, dst, via, blackhole }: RouteFact): boolean =>
    protocol === BOOT && (via !== undefined || blackhole === true) &&
    networks.some((net) =>
      familyOf(net) === familyOf(dst) && lengthOf(dst) > lengthOf(net) &&
      contains(net, addressOf(dst))
    );
  return facts.filter((fact): fact is RouteFact =>
    fact.kind === "route" && (fact.dev === undefined || !gone.has(fact.dev)) &&
    (fact.protocol === TWILL_PROTOCOL || isFlannels(fact))
  );
}

function networksIn(subnetEnv: string): Cidr[] {
  const { networks, networks6 } = readPreviousEnv(subnetEnv);
  return [...networks, ...networks6];
}

function wholeTable(table: string): Removal {
  return { kind: "nft", what: `table ${table}`, commands: `delete table ${table}\n` };
}

/** Chains that hold rules of pods, whose comments tell whose. */
const POD_RULES = ["hostports", "hostip_hostports", "masquerading", "masq_checks"];

/** A table that other networks may use too: it goes when it holds only rules of our pods. */
function sharedTable(
  table: string,
  listing: string,
  { network, containers, receipt }: Inventory,
): Removal[] {
  const chains = parseListing(listing);
  const rules = POD_RULES.flatMap((chain) =>
    (chains.get(chain) ?? []).map((rule) => ({ ...rule, chain }))
  );
  const isOurs = ({ comment }: { readonly comment: string }): boolean =>
    comment.includes(`, net: ${network.name}, `) ||
    [...containers].some((id) => id.slice(0, 128) === comment);
  const ours = rules.filter(isOurs);
  const wasThere = receipt?.tables?.includes(table) ?? false;
  if (ours.length === rules.length && !wasThere) return [wholeTable(table)];
  if (ours.length === 0) return [];
  const commands = ours.map(({ chain, handle }) =>
    `delete rule ${table} ${chain} handle ${handle}\n`
  );
  const count = ours.length === 1 ? "1 rule" : `${ours.length} rules`;
  const what = `table ${table}: ${count} of pods of ${network.name}`;
  return [{ kind: "nft", what, commands: commands.join("") }];
}
