/**
 * firewall: lets the packets of a pod through the node's firewall, by iptables or firewalld, and
 * keeps networks apart (`ingressPolicy`, always by iptables). A chained plugin.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { addressOf, type Family, familyOf, type Inet } from "../../engine/ip.ts";
import {
  addressRemoval,
  addressRules,
  FORWARD_CHAIN,
  forwardAddition,
  forwardWanted,
  isolationWanted,
  together,
} from "../../engine/rules/firewall.ts";
import { missing, type Wanted } from "../../engine/rules/iptables.ts";
import { addSource, firewalldRuns, hasSource, removeSource } from "../../ffi/firewalld.ts";
import { editTable, readTable, usesLegacyTable } from "../../ffi/iptables.ts";
import { Netfilter } from "../../ffi/netfilter.ts";
import { CniError } from "../errors.ts";
import {
  type BackendConfig,
  backendConfig,
  type FirewallConfig,
  firewallConfig,
} from "../firewall/config.ts";
import type { Plugin, Request } from "../plugin.ts";
import { quietlyAsync } from "../quietly.ts";
import type { Result } from "../result.ts";
import { VERSIONS } from "../versions.ts";

const TABLE = "filter";
const FAMILIES = [4, 6] as const satisfies readonly Family[];

/** The plugin `firewall`. */
export const firewall: Plugin = {
  name: "firewall",
  about: "CNI firewall plugin: lets the packets of a pod through the node's firewall",
  versions: VERSIONS.slice(VERSIONS.indexOf("0.4.0")),

  async add(request: Request): Promise<Result> {
    const config = firewallConfig(request);
    const result = request.requirePrevResult();
    const wanted = wantedRules(request, config, result, await usesFirewalld(config));
    await using undo = new AsyncDisposableStack();
    for (const [family, rules] of wanted.iptables) await addRules(request, family, rules, undo);
    for (const source of wanted.sources) {
      if (!await addSource(config.zone, source)) continue;
      undo.defer(() => quietlyAsync(request, () => removeSource(config.zone, source)));
    }
    undo.move();
    return result;
  },

  async check(request: Request): Promise<void> {
    const config = firewallConfig(request);
    const result = request.requirePrevResult();
    const wanted = wantedRules(request, config, result, await usesFirewalld(config));
    for (const [family, rules] of wanted.iptables) {
      const { chains: [chain], rules: [rule] } = missing(await readTable(family, TABLE), rules);
      if (chain !== undefined) throw failed(request, `chain ${chain} not found`);
      if (rule !== undefined) {
        throw failed(request, `rule -A ${rule.chain} ${rule.words.join(" ")} not found`);
      }
    }
    for (const source of wanted.sources) {
      if (await hasSource(config.zone, source)) continue;
      throw failed(request, `${source} is not in zone ${config.zone} of firewalld`);
    }
  },

  /** Both back ends: the configuration, or what runs on the node, may have changed since ADD. */
  async del(request: Request): Promise<void> {
    const addresses = addressesOf(request.prevResult());
    if (addresses.length === 0) return;
    for (const [family, own] of byFamily(addresses)) {
      await quietlyAsync(request, async () => {
        if (!holdsRules(family)) return;
        const rules = addressRules(own);
        await editTable(family, TABLE, (table) => addressRemoval(table, rules));
      });
    }
    const target = backendConfig(request);
    await quietlyAsync(request, async () => {
      if (!await usesFirewalld(target)) return;
      for (const source of addresses.map(hostOf)) await removeSource(target.zone, source);
    });
  },

  /** The rules do not tell whose they are: only DEL can take them away. */
  gc(): void {},

  async status(request: Request): Promise<void> {
    try {
      const config = firewallConfig(request);
      if (await usesFirewalld(config)) {
        if (!await firewalldRuns()) throw new Error("firewalld does not run");
      } else await readTable(4, TABLE);
    } catch (error) {
      throw new CniError(ErrorCode.notAvailable, messageOf(error), undefined, error);
    }
  },
};

async function usesFirewalld({ backend }: BackendConfig): Promise<boolean> {
  return backend === "firewalld" || backend === "auto" && await firewalldRuns();
}

/** What is to be there: rules of iptables for each family, sources for firewalld's zone. */
interface WantedRules {
  readonly iptables: ReadonlyMap<Family, Wanted>;
  readonly sources: readonly string[];
}

function wantedRules(
  request: Request,
  { adminChain, policy }: FirewallConfig,
  result: Result,
  firewalld: boolean,
): WantedRules {
  const addresses = addressesOf(result);
  const isolation = policy === "open" ? [] : [isolationWanted(policy, bridgeOf(request, result))];
  const iptables = new Map<Family, Wanted>();
  for (const [family, own] of byFamily(addresses)) {
    const forward = firewalld ? [] : [forwardWanted(adminChain, own)];
    const wanted = together(...forward, ...isolation);
    if (wanted.chains.length > 0) iptables.set(family, wanted);
  }
  return { iptables, sources: firewalld ? addresses.map(hostOf) : [] };
}

function addressesOf(result: Result | undefined): readonly Inet[] {
  return [...new Set((result?.ips ?? []).map(({ address }) => address))];
}

function byFamily(addresses: readonly Inet[]): (readonly [Family, readonly Inet[]])[] {
  return FAMILIES.map((family) =>
    [family, addresses.filter((inet) => familyOf(inet) === family)] as const
  ).filter(([, own]) => own.length > 0);
}

/** An address as firewalld's zones have it. */
function hostOf(inet: Inet): string {
  return `${addressOf(inet)}/${familyOf(inet) === 4 ? 32 : 128}`;
}

/** The bridge is the first interface of what the plugin `bridge` answers. */
function bridgeOf(request: Request, { interfaces }: Result): string {
  const [first] = interfaces;
  if (first !== undefined && !first.sandbox) return first.name;
  throw failed(request, "ingressPolicy needs a bridge as the first interface of prevResult");
}

/** Adds what is missing, in one transaction; `undo` takes the pod's own rules out again. */
async function addRules(
  request: Request,
  family: Family,
  wanted: Wanted,
  undo: AsyncDisposableStack,
): Promise<void> {
  let added: Wanted = { chains: [], rules: [] };
  await editTable(family, TABLE, (table) => {
    added = missing(table, wanted);
    return forwardAddition(table, added);
  });
  const own = added.rules.filter(({ chain, first }) => chain === FORWARD_CHAIN && !first);
  undo.defer(() =>
    quietlyAsync(request, () => editTable(family, TABLE, (table) => addressRemoval(table, own)))
  );
}

/** Whether iptables holds rules of ours; asked of the kernel, without starting a program. */
function holdsRules(family: Family): boolean {
  if (usesLegacyTable(family, TABLE)) return true;
  using netfilter = new Netfilter();
  const name = family === 4 ? "ip" : "ip6";
  return netfilter.holdsAny([{ family: name, table: TABLE, chain: FORWARD_CHAIN }]);
}

function failed(request: Request, kernel: string): OpError {
  return new OpError(`${request.command} firewall rules of`, request.containerId, {
    code: ErrorCode.plugin,
    kernel,
  });
}
