/**
 * ADD of the bridge plugin: reserve, say what the pod is, apply, answer. Each step that succeeded
 * is taken back when a later one fails; the bridge itself stays, others may use it already.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { AddressFact, Fact, LinkFact } from "../../engine/fact.ts";
import { type Family, familyOf, type Inet, inetOf, lengthOf } from "../../engine/ip.ts";
import { localMac } from "../../engine/mac.ts";
import { type Change, plan } from "../../engine/plan.ts";
import {
  forwardingKeys,
  gatewayConflicts,
  gatewayOf,
  isDefault,
  type Pod,
  podFacts,
} from "../../engine/pod.ts";
import { Errno } from "../../ffi/errno.ts";
import { Kernel, type Outcome } from "../../ffi/kernel.ts";
import { delegate, delegateAdd } from "../delegate.ts";
import type { Request } from "../plugin.ts";
import { EMPTY_RESULT, needsAddress, type Result, type ResultIp } from "../result.ts";
import { type BridgeConfig, bridgeConfig } from "./config.ts";
import { addressesSettled, portUp } from "./wait.ts";

/** How many random names of the host end are tried. */
const NAME_TRIES = 10;

/**
 * Serves ADD.
 *
 * @throws {OpError} nothing of this call is left then but the bridge.
 */
export async function attach(request: Request): Promise<Result> {
  const config = bridgeConfig(request);
  if (config.ipam === "" && needsAddress(request.version)) {
    throw failed(request, `no valid IP addresses: cniVersion ${request.version} needs an IPAM`);
  }
  using kernel = openKernel(request);
  if (kernel.link("pod", request.ifname) !== undefined) throw nameTaken(request);

  await using undo = new AsyncDisposableStack();
  const reserved = await reserve(request, config, undo);
  const ips = withGateways(reserved.ips, config);
  const routes = withDefaults(reserved, ips, config);
  const pod = podOf(request, config, kernel, ips, routes);
  const made = build(request, config, kernel, pod, undo);
  await portUp(kernel, request, made.hostEnd);
  const inet6 = ips.some(({ gateway }) => gateway !== undefined && familyOf(gateway) === 6);
  if (inet6) await addressesSettled(kernel, request);

  const result = {
    ...EMPTY_RESULT,
    interfaces: interfacesOf(request, kernel, made),
    ips: ips.map((ip) => ({ ...ip, interface: 2 })),
    routes,
    dns: config.dns ?? reserved.dns,
  };
  undo.move();
  return result;
}

function openKernel(request: Request): Kernel {
  try {
    return Kernel.open({ pod: request.netns });
  } catch (cause) {
    if (!(cause instanceof OpError) || cause.object !== request.netns) throw cause;
    throw failed(request, `failed to open netns "${request.netns}"`, cause);
  }
}

async function reserve(
  request: Request,
  { ipam }: BridgeConfig,
  undo: AsyncDisposableStack,
): Promise<Result> {
  if (ipam === "") return EMPTY_RESULT;
  // When the IPAM itself refuses, its DEL is not called: it might free a live pod's address.
  const result = await delegateAdd(request, ipam);
  undo.defer(() => delegate(request, "DEL", ipam));
  if (result.ips.length === 0) throw failed(request, "IPAM plugin returned missing IP config");
  return result;
}

/** As gateway serves the first address of the network, unless the IPAM named another. */
function withGateways(ips: readonly ResultIp[], { isGateway }: BridgeConfig): readonly ResultIp[] {
  if (!isGateway) return ips;
  return ips.map((ip) => ({ ...ip, gateway: ip.gateway ?? gatewayOf(ip.address) }));
}

/** Adds one default route for each family that has none with a gateway. */
function withDefaults(
  reserved: Result,
  ips: readonly ResultIp[],
  { isDefaultGateway }: BridgeConfig,
): Result["routes"] {
  if (!isDefaultGateway) return reserved.routes;
  const covered = new Set<Family>(
    reserved.routes.filter((r) => isDefault(r.dst) && r.gw !== undefined)
      .map((r) => familyOf(r.dst)),
  );
  const added = ips.flatMap(({ gateway }) => {
    if (gateway === undefined || covered.has(familyOf(gateway))) return [];
    covered.add(familyOf(gateway));
    const any = (familyOf(gateway) === 4 ? "0.0.0.0/0" : "::/0") as Inet;
    return [{ dst: any, gw: gateway }];
  });
  return [...reserved.routes, ...added];
}

/** What the pod is to be; the name of its host end is chosen later. */
function podOf(
  request: Request,
  config: BridgeConfig,
  kernel: Kernel,
  ips: readonly ResultIp[],
  routes: Result["routes"],
): Pod {
  const exists = kernel.link("host", config.bridge) !== undefined;
  const mtu = config.mtu === undefined ? {} : { mtu: config.mtu };
  return {
    bridge: {
      name: config.bridge,
      // An existing bridge keeps its MTU and its MAC address.
      ...(exists ? {} : { ...mtu, mac: randomMac() }),
      promisc: config.promiscMode,
      hairpin: config.hairpinMode,
      isolated: config.portIsolation,
      gateways: config.isGateway ? ips.flatMap(gatewayInet) : [],
    },
    hostEnd: "",
    name: request.ifname,
    ...mtu,
    ...(config.mac === undefined ? {} : { mac: config.mac }),
    up: !config.disableContainerInterface,
    addresses: ips.map(({ address, gateway }) => ({
      inet: address,
      ...(gateway === undefined ? {} : { gateway }),
    })),
    routes,
    detectDuplicates: config.enableDad,
  };
}

function gatewayInet({ address, gateway }: ResultIp): Inet[] {
  return gateway === undefined ? [] : [inetOf(gateway, lengthOf(address))];
}

function randomMac(): ReturnType<typeof localMac> {
  return localMac(crypto.getRandomValues(new Uint8Array(6)));
}

function randomName(): string {
  const digits = crypto.getRandomValues(new Uint8Array(4));
  return `veth${Array.from(digits, (b) => b.toString(16).padStart(2, "0")).join("")}`;
}

/** Makes the links, then what hangs on them; tells the pod with the name of its host end. */
function build(
  request: Request,
  config: BridgeConfig,
  kernel: Kernel,
  pod: Pod,
  undo: AsyncDisposableStack,
): Pod {
  const { bridge } = pod;
  const have = kernel.read({
    links: [bridge.name],
    addresses: [bridge.name],
    sysctls: [`net/ipv6/conf/${bridge.name}/accept_ra`, ...forwardingKeys(bridge.gateways)],
  });
  const replaced = replacedAddresses(request, config, pod, have);
  for (let tries = 1;; tries++) {
    const named = { ...pod, hostEnd: randomName() };
    const { changes, conflicts } = plan(podFacts(named), have, isBridge(bridge.name));
    if (conflicts.length > 0) throw notABridge(request, bridge.name);
    const links = changes.filter(({ fact }) => fact.kind === "link");
    const taken = makeLinks(request, kernel, links, undo);
    if (taken && tries < NAME_TRIES) continue;
    if (taken) throw failed(request, "failed to make veth pair: no free name for its host end");
    finish(request, kernel, [...replaced, ...changes.filter((c) => !links.includes(c))]);
    fixBridgeMac(request, kernel, bridge.name, have, changes);
    return named;
  }
}

function isBridge(name: string): (fact: Fact) => boolean {
  return (fact) => fact.kind === "link" && fact.name === name && fact.driver.kind === "bridge";
}

/** With `forceAddress`, deletions of what stands in a gateway's way; else that is an error. */
function replacedAddresses(
  request: Request,
  config: BridgeConfig,
  { bridge }: Pod,
  have: readonly Fact[],
): Change[] {
  const present = have.filter((fact): fact is AddressFact => fact.kind === "address");
  return bridge.gateways.flatMap((gateway) => {
    const inWay = gatewayConflicts(present.map(({ inet }) => inet), gateway);
    if (inWay.length > 0 && !config.forceAddress) {
      throw failed(
        request,
        `failed to set bridge addr: "${bridge.name}" already has an IP address different from ` +
          `${gateway}: ${inWay.join(", ")}`,
      );
    }
    return present.filter(({ inet }) => inWay.includes(inet))
      .map((fact): Change => ({ op: "delete", fact }));
  });
}

/** Makes the bridge, when it is missing, and the pair. Returns true when the name was taken. */
function makeLinks(
  request: Request,
  kernel: Kernel,
  changes: readonly Change[],
  undo: AsyncDisposableStack,
): boolean {
  for (const { change, error } of kernel.apply(changes)) {
    const link = change.fact as LinkFact;
    if (link.where === "host") {
      // Another ADD made the bridge at the same moment: as good as ours.
      if (error === undefined || kernel.link("host", link.name)?.kind === "bridge") continue;
      throw failed(request, `failed to create bridge "${link.name}"`, error);
    }
    if (error === undefined) {
      undo.defer(() => void kernel.apply([{ op: "delete", fact: link }]));
    } else if (error.errno !== Errno.EEXIST) {
      throw failed(request, "failed to make veth pair", error);
    } else if (kernel.link("pod", request.ifname) !== undefined) {
      throw nameTaken(request);
    } else return true;
  }
  return false;
}

/** What operators look for in messages, by what could not be done. */
const FRAGMENTS: Readonly<Partial<Record<Fact["kind"], string>>> = {
  port: "failed to connect the veth to the bridge",
  address: "failed to add IP addr",
  route: "failed to add route",
  up: "failed to set the link up",
};

function finish(request: Request, kernel: Kernel, changes: readonly Change[]): void {
  const refused = kernel.apply(changes).find((o): o is Required<Outcome> => o.error !== undefined);
  if (refused === undefined) return;
  const { fact } = refused.change;
  const words = fact.where === "host" && fact.kind === "address"
    ? "failed to set bridge addr"
    : FRAGMENTS[fact.kind] ?? `failed to set ${fact.kind}`;
  throw failed(request, words, refused.error);
}

/** A bridge made by others follows its ports' MAC addresses until it has one of its own. */
function fixBridgeMac(
  request: Request,
  kernel: Kernel,
  name: string,
  have: readonly Fact[],
  changes: readonly Change[],
): void {
  const older = have.find((fact): fact is LinkFact => fact.kind === "link");
  const addressed = changes.some(({ fact }) => fact.kind === "address" && fact.where === "host");
  const mac = kernel.link("host", name)?.mac;
  if (older === undefined || !addressed || mac === undefined) return;
  finish(request, kernel, [{ op: "put", fact: { ...older, mac }, had: older }]);
}

function interfacesOf(request: Request, kernel: Kernel, pod: Pod): Result["interfaces"] {
  const withMac = (where: "host" | "pod", name: string): { name: string; mac?: string } => {
    const mac = kernel.link(where, name)?.mac;
    return mac === undefined ? { name } : { name, mac };
  };
  return [
    withMac("host", pod.bridge.name),
    withMac("host", pod.hostEnd),
    { ...withMac("pod", request.ifname), sandbox: request.netns },
  ];
}

function nameTaken({ ifname, netns, containerId }: Request): OpError {
  return new OpError("attach", `${containerId} ${ifname}`, {
    code: ErrorCode.plugin,
    kernel: `container veth name ${JSON.stringify(ifname)} already exists in ${netns}`,
    advice: "The pod is attached already; DEL it first",
  });
}

function notABridge(request: Request, name: string): OpError {
  return failed(request, `"${name}" already exists but is not a bridge`);
}

function failed(request: Request, words: string, cause?: OpError): OpError {
  return new OpError("attach", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel: cause === undefined ? words : `${words}: ${cause.message}`,
    errno: cause?.errno,
    cause,
  });
}
