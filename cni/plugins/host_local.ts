/**
 * host-local: hands out addresses of ranges that the configuration lists, and keeps them in files
 * (see ../host_local/store.ts). An IPAM plugin: other plugins delegate to it.
 *
 * @module
 */

import { freeBlocks } from "../../engine/allocate.ts";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { addressOf, type Cidr, inetOf, type Ip, lengthOf } from "../../engine/ip.ts";
import { validAttachments } from "../attachments.ts";
import { CniError, readConfig } from "../errors.ts";
import { type HostLocalConfig, parseHostLocal, storeDir } from "../host_local/config.ts";
import { formatSet, inRange, rangeOf, type RangeSet } from "../host_local/ranges.ts";
import { parseResolvConf } from "../host_local/resolv_conf.ts";
import { Store } from "../host_local/store.ts";
import type { Plugin, Request } from "../plugin.ts";
import { type Dns, NO_DNS, type Result, type ResultIp } from "../result.ts";
import { VERSIONS } from "../versions.ts";

/** The plugin `host-local`. */
export const hostLocal: Plugin = {
  name: "host-local",
  about: "CNI host-local plugin: hands out addresses of configured ranges and keeps them in files",
  versions: VERSIONS,
  attaches: true,

  async add(request: Request): Promise<Result> {
    const config = parseHostLocal(request);
    const dns = readDns(config.resolvConf);
    using store = await Store.open(storeDir(request), request.call.mayBlock);
    const ips = allocateAll(request, config, store);
    return { interfaces: [], ips, routes: config.routes, dns };
  },

  async check(request: Request): Promise<void> {
    parseHostLocal(request);
    using store = await Store.openExisting(storeDir(request), request.call.mayBlock);
    if ((store?.surelyOwnedBy(request) ?? []).length > 0) return;
    throw new OpError("find the address of", `${request.containerId} ${request.ifname}`, {
      code: ErrorCode.plugin,
      kernel: `Failed to find address added by container ${request.containerId}`,
      advice: "The reservation is gone: another pod may get the address. Recreate the pod",
    });
  },

  async del(request: Request): Promise<void> {
    using store = await Store.openExisting(storeDir(request), request.call.mayBlock);
    for (const ip of store?.surelyOwnedBy(request) ?? []) store?.release(ip);
    store?.tidy();
  },

  async gc(request: Request): Promise<void> {
    const dir = storeDir(request);
    const valid = readConfig(
      "failed to load netconf",
      () => validAttachments(request.config),
    );
    if (valid === undefined) return;
    using store = await Store.openExisting(dir, request.call.mayBlock);
    store?.retain(valid);
  },

  /** A full pool is no failure: runtimes would declare the node unfit and move its pods. */
  status(request: Request): void {
    try {
      parseHostLocal(request);
      Store.probe(storeDir(request));
    } catch (error) {
      throw new CniError(ErrorCode.notAvailable, messageOf(error), undefined, error);
    }
  },
};

function readDns(path: string | undefined): Dns {
  if (path === undefined) return NO_DNS;
  try {
    return parseResolvConf(Deno.readTextFileSync(path));
  } catch (cause) {
    throw new OpError("read resolvConf", path, { code: ErrorCode.plugin, cause });
  }
}

/** One address of each set, or none at all. */
function allocateAll(request: Request, config: HostLocalConfig, store: Store): ResultIp[] {
  using undo = new DisposableStack();
  const before = store.ownedBy(request);
  if (before.length === 0) request.call.operation?.note("address");
  let requested = config.requested;
  const ips = config.sets.map((set, n): ResultIp => {
    const wanted = requested.find((ip) => rangeOf(set, ip) !== undefined);
    requested = requested.filter((ip) => ip !== wanted);
    const ip = wanted === undefined
      ? takeNext(request, store, set, n, before)
      : takeWanted(request, store, set, n, wanted);
    undo.defer(() => store.release(ip));
    store.setLastReserved(n, ip);
    const range = rangeOf(set, ip);
    if (range === undefined) throw new RangeError(`${ip} is not in ${formatSet(set)}`);
    return { address: inetOf(ip, lengthOf(range.subnet)), gateway: range.gateway };
  });
  if (requested.length > 0) {
    throw refused(request, `failed to allocate all requested IPs: ${requested.join(", ")}`);
  }
  undo.move();
  return ips;
}

/** Takes the address that was asked for. */
function takeWanted(request: Request, store: Store, set: RangeSet, n: number, ip: Ip): Ip {
  const isGateway = rangeOf(set, ip)?.gateway === ip;
  if (isGateway) {
    throw refused(
      request,
      `failed to allocate for range ${n}: requested ip ${ip} is subnet's gateway`,
    );
  }
  if (store.reserve(ip, request)) return ip;
  throw refused(
    request,
    `failed to allocate for range ${n}: requested IP address ${ip} is not available in range set ${
      formatSet(set)
    }`,
  );
}

/**
 * Takes the next free address, from behind the one that was given out last: an address that was
 * just released stays unused as long as possible.
 */
function takeNext(
  request: Request,
  store: Store,
  set: RangeSet,
  n: number,
  before: readonly Ip[],
): Ip {
  const own = before.find((ip) => rangeOf(set, ip) !== undefined);
  if (own !== undefined) {
    throw refused(
      request,
      `failed to allocate for range ${n}: ${own} has been allocated to ${request.containerId}, ` +
        "duplicate allocation is not allowed",
    );
  }
  const taken = store.taken();
  const gateways = new Set(set.filter((r) => inRange(r, r.gateway)).map((r) => r.gateway));
  const unfit = (block: Cidr): boolean => {
    const ip = addressOf(block);
    return taken.has(ip) || gateways.has(ip);
  };
  for (const block of freeBlocks(set, unfit, store.lastReserved(n))) {
    const ip = addressOf(block);
    if (store.reserve(ip, request)) return ip;
  }
  throw refused(
    request,
    `failed to allocate for range ${n}: no IP addresses available in range set: ${formatSet(set)}`,
  );
}

function refused(request: Request, kernel: string): OpError {
  return new OpError("allocate an address for", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel,
  });
}
