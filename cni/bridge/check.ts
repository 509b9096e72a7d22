/**
 * CHECK of the bridge plugin: what ADD made is still there. Later plugins of the chain may have
 * added to it or changed the MAC address; their word (prevResult) counts.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Fact, RouteFact } from "../../engine/fact.ts";
import { addressOf, familyOf, type Inet, networkOf } from "../../engine/ip.ts";
import { isDefault } from "../../engine/pod.ts";
import { Kernel, type Link } from "../../ffi/kernel.ts";
import { Iff } from "../../ffi/netlink/link.ts";
import { delegate } from "../delegate.ts";
import type { Request } from "../plugin.ts";
import type { Result, ResultInterface } from "../result.ts";
import { type BridgeConfig, bridgeConfig } from "./config.ts";

/** Serves CHECK. @throws {OpError} naming the first thing that is not as it was made */
export async function check(request: Request): Promise<void> {
  const config = bridgeConfig(request);
  const result = request.requirePrevResult();
  using kernel = Kernel.open({ pod: request.netns });
  if (config.ipam !== "") await delegate(request, "CHECK", config.ipam);
  const bridge = checkBridge(request, config, kernel, result);
  const inside = checkInside(request, kernel, result);
  checkHostEnd(request, kernel, result, bridge, inside);
  checkInsideFacts(request, kernel, result);
  const addresses = podAddresses(request, result);
  if (config.ipMasq && addresses.length > 0) {
    const { checkMasquerade } = await import("./masquerade.ts");
    await checkMasquerade(request, config.ipMasqBackend, addresses);
  }
  if (config.macSpoofCheck) (await import("./mac_spoof.ts")).checkMacGuard(request);
}

function checkBridge(
  request: Request,
  config: BridgeConfig,
  kernel: Kernel,
  result: Result,
): Link {
  const recorded = result.interfaces.find((one) => one.name === config.bridge && !one.sandbox);
  const link = kernel.link("host", config.bridge);
  if (recorded === undefined) throw bad(request, `bridge ${config.bridge} not found in prevResult`);
  if (link === undefined) throw bad(request, `bridge ${config.bridge} not found`);
  if (link.kind !== "bridge") throw bad(request, `${config.bridge} is not a bridge`);
  checkMac(request, recorded, link);
  const promisc = (link.flags & Iff.PROMISC) !== 0;
  if (promisc !== config.promiscMode) {
    throw bad(request, `promiscuous mode of ${config.bridge} doesn't match the configuration`);
  }
  return link;
}

function checkInside(request: Request, kernel: Kernel, result: Result): Link {
  const recorded = result.interfaces.find((one) =>
    one.name === request.ifname && one.sandbox === request.netns
  );
  if (recorded === undefined) {
    const named = result.interfaces.find((one) => one.name === request.ifname);
    throw bad(
      request,
      named === undefined
        ? `interface ${request.ifname} not found in prevResult`
        : `Sandbox in prevResult ${named.sandbox ?? ""} doesn't match ${request.netns}`,
    );
  }
  const link = kernel.link("pod", request.ifname);
  if (link === undefined) throw bad(request, `interface ${request.ifname} not found in the pod`);
  if (link.kind !== "veth") throw bad(request, `interface ${request.ifname} is not a veth`);
  checkMac(request, recorded, link);
  return link;
}

function checkHostEnd(
  request: Request,
  kernel: Kernel,
  result: Result,
  bridge: Link,
  inside: Link,
): void {
  for (const recorded of result.interfaces) {
    if (recorded.sandbox) continue;
    const link = kernel.link("host", recorded.name);
    if (link?.kind !== "veth") continue;
    const isPair = link.lower === inside.index && inside.lower === link.index;
    if (!isPair || link.master !== bridge.index) continue;
    return checkMac(request, recorded, link);
  }
  throw bad(request, `the host end of ${request.ifname}, a port of ${bridge.name}, not found`);
}

function checkMac(request: Request, recorded: ResultInterface, link: Link): void {
  if (!recorded.mac || recorded.mac === link.mac) return;
  throw bad(request, `MAC of ${link.name} ${link.mac} doesn't match ${recorded.mac}`);
}

function checkInsideFacts(request: Request, kernel: Kernel, result: Result): void {
  const have = kernel.read({ where: "pod", addresses: [request.ifname], routes: true });
  const routes = have.filter((fact): fact is RouteFact => fact.kind === "route");
  for (const address of podAddresses(request, result)) {
    const isIt = (fact: Fact): boolean => fact.kind === "address" && fact.inet === address;
    if (!have.some(isIt)) {
      throw bad(request, `Failed to match addr ${address} on ${request.ifname}`);
    }
    if (!routes.some((r) => r.dst === networkOf(address) && r.dev === request.ifname)) {
      throw bad(request, `Expected Route to ${networkOf(address)} dev ${request.ifname} not found`);
    }
  }
  for (const { dst, gw } of result.routes) {
    const matches = (route: RouteFact): boolean =>
      isDefault(dst)
        ? isDefault(route.dst) && familyOf(route.dst) === familyOf(dst)
        : route.dst === networkOf(dst) && (gw === undefined || route.via === gw);
    if (!routes.some(matches)) {
      throw bad(request, `Expected Route ${addressOf(dst)} via ${gw ?? "any gateway"} not found`);
    }
  }
}

/** The addresses of this attachment's interface, and those that say no interface. */
function podAddresses(request: Request, result: Result): Inet[] {
  return result.ips.filter(({ interface: index }) =>
    index === undefined || result.interfaces[index]?.name === request.ifname
  ).map(({ address }) => address);
}

function bad(request: Request, words: string): OpError {
  return new OpError("confirm", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel: words,
    advice: "Delete the pod; its replacement is attached anew",
  });
}
