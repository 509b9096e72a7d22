/**
 * The configuration of host-local.
 *
 * @module
 */

import { addressOf, type Ip, parseInet } from "../../engine/ip.ts";
import { type Fields, toFieldsList } from "../../engine/json.ts";
import { parseArgs } from "../args.ts";
import { readConfig } from "../errors.ts";
import type { Request } from "../plugin.ts";
import { parseRoutes, type ResultRoute } from "../result.ts";
import { formatOf } from "../versions.ts";
import { checkSets, familyOfSet, parsePlainIp, parseRange, type RangeSet } from "./ranges.ts";

/** Where addresses are kept unless `ipam.dataDir` says otherwise. */
export const DEFAULT_DATA_DIR = "/var/lib/cni/networks";

/** What an ADD needs to know. */
export interface HostLocalConfig {
  /** At least one; the position of a set is the number in `last_reserved_ip.<n>`. */
  readonly sets: readonly RangeSet[];
  readonly routes: readonly ResultRoute[];
  /** Path of a file in the form of resolv.conf(5). */
  readonly resolvConf?: string;
  /** Addresses that the runtime or the operator asks for. */
  readonly requested: readonly Ip[];
}

/**
 * The directory that holds the addresses of the request's network. Nothing else of the
 * configuration is read: DEL and GC must work after the ranges were changed, or spoilt.
 *
 * @throws {OpError} code 7.
 */
export function storeDir(request: Request): string {
  return readConfig("failed to load netconf", () => {
    const dataDir = ipamOf(request.config).string("dataDir") || DEFAULT_DATA_DIR;
    return `${dataDir}/${request.network}`;
  });
}

/**
 * Reads the whole configuration, with the addresses that are asked for in `CNI_ARGS`, in
 * `args.cni.ips` and in `runtimeConfig.ips`.
 *
 * @throws {OpError} code 7; 999 for `CNI_ARGS`.
 */
export function parseHostLocal(request: Request): HostLocalConfig {
  const wanted = parseArgs(request.args, ["IP"]).IP;
  return readConfig("failed to load netconf", () => {
    const { config } = request;
    const ipam = ipamOf(config);
    const sets = parseSets(config, ipam);
    if (sets.length === 0) throw new SyntaxError("no IP ranges specified");
    checkSets(sets);
    if (formatOf(request.version) === "0.1") checkOnePerFamily(request.version, sets);
    const asked = [
      ...(wanted ? [wanted] : []),
      ...(config.fields("args")?.fields("cni")?.strings("ips") ?? []),
      ...(config.fields("runtimeConfig")?.strings("ips") ?? []),
    ];
    const resolvConf = ipam.string("resolvConf");
    return {
      sets,
      routes: parseRoutes(ipam),
      ...(resolvConf && { resolvConf }),
      requested: [...new Set(asked.map(parseRequested))],
    };
  });
}

function ipamOf(config: Fields): Fields {
  const ipam = config.fields("ipam");
  if (ipam === undefined) throw new SyntaxError("IPAM config missing 'ipam' key");
  return ipam;
}

/** The order is part of the format on disk: it numbers the sets. */
function parseSets(config: Fields, ipam: Fields): readonly RangeSet[] {
  const own = config.fields("runtimeConfig");
  const oldStyle = ipam.raw("subnet") === undefined ? [] : [() => [parseRange(ipam)]];
  return [...listedSets(own, "ipRanges"), ...oldStyle, ...listedSets(ipam, "ranges")]
    .map((read, n) => {
      try {
        return read();
      } catch (cause) {
        if (!(cause instanceof SyntaxError)) throw cause;
        throw new SyntaxError(`invalid range set ${n}: ${cause.message}`, { cause });
      }
    });
}

function listedSets(fields: Fields | undefined, name: string): readonly (() => RangeSet)[] {
  const path = fields?.pathOf(name) ?? name;
  return (fields?.list(name) ?? []).map((set, i) => () =>
    toFieldsList(set, `${path}[${i}]`).map(parseRange)
  );
}

function checkOnePerFamily(version: string, sets: readonly RangeSet[]): void {
  const families = sets.map(familyOfSet);
  if (new Set(families).size < families.length) {
    throw new SyntaxError(`CNI version ${version} does not support more than 1 address per family`);
  }
}

/** `ip` or `ip/length`; the length means nothing. */
function parseRequested(text: string): Ip {
  try {
    return parsePlainIp(text.includes("/") ? addressOf(parseInet(text)) : text);
  } catch (cause) {
    throw new SyntaxError(`requested ${(cause as Error).message}`, { cause });
  }
}
