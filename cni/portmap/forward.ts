/**
 * Host ports of a pod, made, looked at and taken away, by either back end.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { addressOf, type Family, familyOf, type Inet } from "../../engine/ip.ts";
import {
  DNAT_CHAIN,
  hostPortChains,
  type HostPorts,
  hostPortsCollection,
  hostPortsRemoval,
  hostPortsWanted,
  type IptablesPorts,
  mappingsOf,
  type PortOwner,
} from "../../engine/rules/hostports.ts";
import {
  hostPortsCommands,
  hostPortsDeletion,
  hostPortsLack,
  hostPortsTable,
} from "../../engine/rules/hostports_nft.ts";
import { targetOf } from "../../engine/rules/iptables.ts";
import { type Listing, parseListing } from "../../engine/rules/nft_listing.ts";
import { readNat } from "../../ffi/iptables.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { Netfilter } from "../../ffi/netfilter.ts";
import { editTable, listTable } from "../../ffi/nft.ts";
import {
  addNat,
  BOTH_FAMILIES,
  lacking,
  LOOKS,
  NatCleaner,
  type NatTables,
  withBackend,
} from "../nat.ts";
import type { Request } from "../plugin.ts";
import type { Result } from "../result.ts";
import type { PortmapConfig } from "./config.ts";

/** What each family is told: of one that the pod has no address of, nothing. */
type Ports = ReadonlyMap<Family, IptablesPorts>;

/** Makes the rules; of a pod that had none before, nothing stays when it throws. */
export async function forward(
  request: Request,
  config: PortmapConfig,
  result: Result,
): Promise<void> {
  const ports = portsOf(request, config, result);
  await using undo = new AsyncDisposableStack();
  await withBackend(config.backend, [...ports.keys()], {
    iptables: (tables) => withIptables(request, ports, tables, undo),
    nftables: () => withNftables(request, ports, undo),
  });
  const inet4 = ports.get(4);
  if (inet4?.snat) routeLocalnet(inet4.container);
  for (const family of ports.values()) forgetUdp(request, family);
  undo.move();
}

async function withIptables(
  request: Request,
  ports: Ports,
  tables: NatTables,
  undo: AsyncDisposableStack,
): Promise<void> {
  for (const [family, wanted] of ports) {
    const table = tables.get(family);
    const isNew = !table?.hasChain(hostPortChains(ownerOf(request))[0]);
    await addNat(family, hostPortsWanted(ownerOf(request), wanted), table);
    if (isNew) undo.defer(() => takeBack(request));
  }
}

function withNftables(request: Request, ports: Ports, undo: AsyncDisposableStack): void {
  const { containerId } = request;
  for (const [family, wanted] of ports) {
    let isNew = false;
    editTable(hostPortsTable(family), (listing) => {
      isNew = hostPortsDeletion(listing, family, containerId) === "";
      return hostPortsCommands(listing, containerId, wanted);
    });
    if (isNew) undo.defer(() => takeBack(request));
  }
}

async function takeBack(request: Request): Promise<void> {
  using cleaner = new NatCleaner(request);
  await clean(cleaner, request);
  cleaner.finishQuietly();
}

/** Takes the rules of both back ends away. @throws {OpError} when some stay */
export async function unforward(request: Request): Promise<void> {
  using cleaner = new NatCleaner(request);
  await clean(cleaner, request);
  cleaner.finish();
}

async function clean(cleaner: NatCleaner, request: Request): Promise<void> {
  const owner = ownerOf(request);
  await cleaner.iptables(hostPortChains(owner), (table) => hostPortsRemoval(table, owner));
  for (const family of BOTH_FAMILIES) {
    const object = { family: family === 4 ? "ip" : "ip6", table: "cni_hostport" } as const;
    await cleaner.nftables(
      object,
      (listing) => hostPortsDeletion(listing, family, request.containerId),
    );
  }
}

/** Takes away what belongs to no valid container of this network; nftables rules do not say. */
export async function collect(request: Request, valid: ReadonlySet<string>): Promise<void> {
  using cleaner = new NatCleaner(request);
  await cleaner.iptables(
    [DNAT_CHAIN],
    (table) => hostPortsCollection(table, request.network, valid),
  );
  cleaner.finish();
}

/** @throws {OpError} naming the first rule that is not there. */
export async function confirm(
  request: Request,
  config: PortmapConfig,
  result: Result,
): Promise<void> {
  const ports = portsOf(request, config, result);
  const lack = await withBackend(config.backend, [...ports.keys()], {
    iptables: async (tables) => {
      const lack = await iptablesLack(request, ports, tables);
      // When the back end was chosen by what worked, that may have been the other one.
      if (lack === undefined || config.backend !== undefined) return lack;
      return nftablesLack(request, ports) === undefined ? undefined : lack;
    },
    nftables: () => nftablesLack(request, ports),
  });
  if (lack === undefined) return;
  throw new OpError("confirm", `host ports of ${request.containerId}`, {
    code: ErrorCode.plugin,
    kernel: lack,
    advice: "Delete the pod; its replacement gets its host ports anew",
  });
}

async function iptablesLack(
  request: Request,
  ports: Ports,
  tables: NatTables,
): Promise<string | undefined> {
  for (const [family, wanted] of ports) {
    const table = tables.get(family) ?? await readNat(family);
    const lack = await lacking(family, table, hostPortsWanted(ownerOf(request), wanted));
    const [chain] = lack.chains;
    if (chain !== undefined) return `IPv${family} chain ${chain} not found`;
    const [rule] = lack.rules;
    if (rule !== undefined) {
      return `IPv${family} rule in chain ${rule.chain} to ${targetOf(rule)} not found: ` +
        rule.words.join(" ");
    }
  }
  return undefined;
}

function nftablesLack(request: Request, ports: Ports): string | undefined {
  for (const [family, wanted] of ports) {
    const table = hostPortsTable(family);
    let chain: string | undefined;
    for (let look = 0; look === 0 || chain !== undefined && look < LOOKS; look++) {
      const listing: Listing = parseListing(listTable(table, undefined, "handles"));
      chain = hostPortsLack(listing, request.containerId, wanted);
    }
    if (chain !== undefined) return `rules in chain ${chain} of table ${table} not found`;
  }
  return undefined;
}

function ownerOf({ network, containerId }: Request): PortOwner {
  return { network, containerId };
}

function portsOf(request: Request, config: PortmapConfig, result: Result): Ports {
  const { mappings, snat, masqAll, markBit, markChain } = config;
  const ports = new Map<Family, IptablesPorts>();
  for (const container of containerAddresses(request, result)) {
    const family = familyOf(container);
    if (ports.has(family)) continue;
    ports.set(family, {
      ...{ mappings, container, snat, masqAll, markBit },
      conditions: config.conditions[family],
      ...(markChain === undefined ? {} : { markChain }),
    });
  }
  return ports;
}

/** The addresses that are the pod's, as far as the result says whose they are. */
function containerAddresses(request: Request, result: Result): Inet[] {
  return result.ips.filter(({ interface: index }) => {
    const owner = index === undefined ? undefined : result.interfaces[index];
    return owner === undefined || owner.name === request.ifname && !!owner.sandbox;
  }).map(({ address }) => address).toSorted((a, b) => familyOf(a) - familyOf(b));
}

/** Lets the node reach host ports by 127.0.0.1: the kernel drops such packets otherwise. */
function routeLocalnet(container: Inet): void {
  using kernel = Kernel.open();
  const link = kernel.linkTo(addressOf(container));
  if (link === undefined) return;
  const key = `net/ipv4/conf/${link.name}/route_localnet`;
  const [outcome] = kernel.apply([
    { op: "put", fact: { kind: "sysctl", where: "host", key, value: "1" } },
  ]);
  if (outcome?.error !== undefined) throw outcome.error;
}

/** An open UDP flow would go on to where its first packet went: an older pod, or nowhere. */
function forgetUdp(request: Request, ports: HostPorts): void {
  const udp = mappingsOf(ports).filter(({ protocol }) => protocol === "udp");
  if (udp.length === 0) return;
  try {
    using netfilter = new Netfilter();
    for (const { hostPort } of udp) netfilter.forgetUdp(familyOf(ports.container), hostPort);
  } catch (error) {
    request.log(`twill: ${messageOf(error)}; open UDP flows may go astray`);
  }
}
