/**
 * loopback: sets `lo` of a pod up. It ignores the interface name of the request; runtimes call it
 * beside the pod's network, at the same moment.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { AddressFact, Fact } from "../../engine/fact.ts";
import {
  addressOf,
  type Cidr,
  contains,
  type Family,
  familyOf,
  type Inet,
} from "../../engine/ip.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { isNetns } from "../../ffi/netns.ts";
import type { Plugin, Request } from "../plugin.ts";
import { NO_DNS, type Result } from "../result.ts";
import { VERSIONS } from "../versions.ts";

const LO = "lo";

/** What an address of a loopback interface may be, by family. */
const LOOPBACK: Readonly<Record<Family, Cidr>> = { 4: "127.0.0.0/8" as Cidr, 6: "::1/128" as Cidr };

/** The plugin `loopback`. */
export const loopback: Plugin = {
  name: "loopback",
  about: "CNI loopback plugin: sets the loopback interface of a pod up",
  versions: VERSIONS,

  add(request: Request): Result {
    const previous = request.prevResult();
    using kernel = openPod(request);
    setUp(request, kernel, true);
    const addresses = readLo(kernel).filter((fact) => fact.kind === "address");
    const foreign = addresses.find(({ inet }) => !isLoopback(inet));
    if (foreign !== undefined) {
      throw failed(request, `${LO} has ${foreign.inet}, which is no loopback address`);
    }
    return previous ?? {
      interfaces: [{ name: LO, mac: "00:00:00:00:00:00", sandbox: request.netns }],
      ips: [firstOf(addresses, 4), firstOf(addresses, 6)].filter((fact) => fact !== undefined)
        .map(({ inet }) => ({ address: inet, interface: 0 })),
      routes: [],
      dns: NO_DNS,
    };
  },

  check(request: Request): void {
    using kernel = openPod(request);
    const up = readLo(kernel).some((fact) => fact.kind === "up" && fact.up);
    if (!up) throw failed(request, `loopback interface is down in ${request.netns}`);
  },

  del(request: Request): void {
    // A namespace that is gone took its interfaces with it.
    if (request.netns === "" || !isNetns(request.netns)) return;
    using kernel = openPod(request);
    setUp(request, kernel, false);
  },

  gc(): void {},

  status(): void {},
};

function openPod(request: Request): Kernel {
  try {
    return Kernel.open({ pod: request.netns });
  } catch (cause) {
    if (!(cause instanceof OpError) || cause.object !== request.netns) throw cause;
    throw failed(
      request,
      `failed to open netns ${JSON.stringify(request.netns)}: ${cause.kernel}`,
      cause,
    );
  }
}

function setUp(request: Request, kernel: Kernel, up: boolean): void {
  const fact: Fact = { kind: "up", where: "pod", dev: LO, up };
  for (const { error } of kernel.apply([{ op: "put", fact }])) {
    if (error !== undefined) throw failed(request, error.message, error);
  }
}

function readLo(kernel: Kernel): Fact[] {
  return kernel.read({ where: "pod", links: [LO], addresses: [LO] });
}

function isLoopback(inet: Inet): boolean {
  return contains(LOOPBACK[familyOf(inet)], addressOf(inet));
}

function firstOf(addresses: readonly AddressFact[], family: Family): AddressFact | undefined {
  return addresses.find(({ inet }) => familyOf(inet) === family);
}

function failed(request: Request, kernel: string, cause?: OpError): OpError {
  return new OpError(`${request.command} loopback of`, request.containerId, {
    code: ErrorCode.plugin,
    errno: cause?.errno,
    kernel,
    cause,
  });
}
