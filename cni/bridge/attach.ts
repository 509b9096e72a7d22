/**
 * ADD of the bridge plugin: reserve, say what the pod is, apply, answer. Each step that succeeded
 * is taken back when a later one fails; the bridge itself stays, others may use it already.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { AddressFact, Fact, LinkFact } from "../../engine/fact.ts";
import { type Family, familyOf, type Inet, inetOf, lengthOf } from "../../engine/ip.ts";
import { type Change, plan } from "../../engine/plan.ts";
import {
  forwardingKeys,
  gatewayConflicts,
  gatewayOf,
  isDefault,
  type Pod,
  podFacts,
} from "../../engine/pod.ts";
import type { Mac } from "../../engine/mac.ts";
import { Errno } from "../../ffi/errno.ts";
import { Kernel, type Link, type Outcome } from "../../ffi/kernel.ts";
import { delegate, delegateAdd } from "../delegate.ts";
import type { Request } from "../plugin.ts";
import { EMPTY_RESULT, needsAddress, type Result, type ResultIp } from "../result.ts";
import { type BridgeConfig, bridgeConfig } from "./config.ts";
import type { guardMac } from "./mac_spoof.ts";
import { failed, notABridge, randomMac, randomName } from "./parts.ts";
import type * as Vlan from "./vlan.ts";
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

  const vlan = config.vlan === undefined ? undefined : await import("./vlan.ts");
  vlan?.ensureVlanBridge(request, kernel, newBridge(config));
  await using undo = new AsyncDisposableStack();
  const reserved = await reserve(request, config, undo);
  const ips = withGateways(reserved.ips, config);
  const routes = withDefaults(reserved, ips, config);
  const guard = config.macSpoofCheck ? (await import("./mac_spoof.ts")).guardMac : undefined;
  const gateways = config.isGateway ? ips.flatMap(gatewayInet) : [];
  const gatewayDev = gatewayOfVlan(request, config, kernel, gateways, vlan);
  const have = kernel.read({
    links: [config.bridge],
    addresses: [gatewayDev ?? config.bridge],
    sysctls: [`net/ipv6/conf/${config.bridge}/accept_ra`, ...forwardingKeys(gateways)],
  });
  const bridge = bridgeOf(config, have, gateways, gatewayDev);
  const pod = podOf(request, config, bridge, ips, routes);
  const made = build(request, config, kernel, pod, have, undo, guard, vlan);
  if (config.ipMasq && ips.length > 0) {
    const { masquerade } = await import("./masquerade.ts");
    await masquerade(request, config.ipMasqBackend, ips.map(({ address }) => address), undo);
  }
  const outside = [bridge.name, made.hostEnd, ...gatewayDev === undefined ? [] : [gatewayDev]];
  const links = pod.up
    ? await portUp(kernel, request, made.hostEnd, outside)
    : kernel.named("host", outside);
  const inet6 = ips.some(({ gateway }) => gateway !== undefined && familyOf(gateway) === 6);
  if (inet6) await addressesSettled(kernel, request);

  const result = {
    ...EMPTY_RESULT,
    interfaces: interfacesOf(request, outside, links, made.mac),
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

/** The bridge, as we make it when it is missing. */
function newBridge({ bridge, mtu }: BridgeConfig): LinkFact {
  return {
    kind: "link",
    where: "host",
    name: bridge,
    driver: { kind: "bridge" },
    ...(mtu === undefined ? {} : { mtu }),
    mac: randomMac(),
  };
}

/** With a VLAN of its own a pod has another gateway than the bridge; made when it is missing. */
function gatewayOfVlan(
  request: Request,
  { bridge, vlan: vlans }: BridgeConfig,
  kernel: Kernel,
  gateways: readonly Inet[],
  vlan: typeof Vlan | undefined,
): string | undefined {
  if (vlan === undefined || vlans?.access === undefined || gateways.length === 0) return undefined;
  return vlan.ensureVlanGateway(request, kernel, bridge, { ...vlans, access: vlans.access });
}

/** The bridge as the pod needs it. */
function bridgeOf(
  config: BridgeConfig,
  have: readonly Fact[],
  gateways: readonly Inet[],
  gatewayDev: string | undefined,
): Pod["bridge"] {
  const exists = have.some((fact) => fact.kind === "link");
  return {
    name: config.bridge,
    // An existing bridge keeps its MTU and its MAC address.
    ...(exists ? {} : { ...mtuOf(config), mac: randomMac() }),
    promisc: config.promiscMode,
    hairpin: config.hairpinMode,
    isolated: config.portIsolation,
    gateways,
    ...(gatewayDev === undefined ? {} : { gatewayDev }),
  };
}

function mtuOf({ mtu }: BridgeConfig): { readonly mtu?: number } {
  return mtu === undefined ? {} : { mtu };
}

/** What the pod is to be; the name of its host end is chosen later. */
function podOf(
  request: Request,
  config: BridgeConfig,
  bridge: Pod["bridge"],
  ips: readonly ResultIp[],
  routes: Result["routes"],
): Pod {
  return {
    bridge,
    hostEnd: "",
    name: request.ifname,
    ...mtuOf(config),
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

/** Makes the links, then what hangs on them; tells the host end, and the pod's MAC address. */
function build(
  request: Request,
  config: BridgeConfig,
  kernel: Kernel,
  pod: Pod,
  have: readonly Fact[],
  undo: AsyncDisposableStack,
  guard: typeof guardMac | undefined,
  vlan: typeof Vlan | undefined,
): { readonly hostEnd: string; readonly mac?: Mac } {
  const { bridge } = pod;
  const replaced = replacedAddresses(request, config, pod, have);
  request.call.operation?.note("link");
  for (let tries = 1;; tries++) {
    const named = { ...pod, hostEnd: randomName() };
    const { changes, conflicts } = plan(podFacts(named), have, isBridge(bridge.name));
    if (conflicts.length > 0) throw notABridge(request, bridge.name);
    const links = changes.filter(({ fact }) => fact.kind === "link");
    const taken = makeLinks(request, kernel, links, undo);
    if (taken && tries < NAME_TRIES) continue;
    if (taken) throw failed(request, "failed to make veth pair: no free name for its host end");
    const mac = kernel.known("pod", request.ifname)?.mac;
    if (mac !== undefined) guard?.(request, named.hostEnd, mac, undo);
    let rest = changes.filter((change) => !links.includes(change));
    if (vlan !== undefined && config.vlan !== undefined) {
      // Before the port is up: no frame of the pod goes where it should not.
      finish(request, kernel, rest.filter(({ fact }) => fact.kind === "port"));
      rest = rest.filter(({ fact }) => fact.kind !== "port");
      vlan.joinVlans(request, kernel, named.hostEnd, config.vlan);
    }
    finish(request, kernel, [...replaced, ...rest]);
    fixBridgeMac(request, kernel, bridge.name, have, changes);
    return { hostEnd: named.hostEnd, ...(mac === undefined ? {} : { mac }) };
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
  const carrier = bridge.gatewayDev ?? bridge.name;
  return bridge.gateways.flatMap((gateway, n) => {
    // Of one pod's gateways none may stand in the way of another, as they would for the next pod.
    const among = gatewayConflicts(bridge.gateways.slice(0, n), gateway);
    const inWay = [...gatewayConflicts(present.map(({ inet }) => inet), gateway), ...among];
    if (among.length > 0 || inWay.length > 0 && !config.forceAddress) {
      throw failed(
        request,
        `failed to set bridge addr: "${carrier}" already has an IP address different from ` +
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
  if (older === undefined || !addressed) return;
  const mac = kernel.link("host", name)?.mac;
  if (mac === undefined) return;
  finish(request, kernel, [{ op: "put", fact: { ...older, mac }, had: older }]);
}

/** @param outside the names of the bridge, the host end, and the gateway's device if there is one. */
function interfacesOf(
  { ifname, netns }: Request,
  [bridge = "", hostEnd = "", ...more]: readonly string[],
  links: readonly Link[],
  mac: Mac | undefined,
): Result["interfaces"] {
  const told = (name: string): { name: string; mac?: string } => {
    const found = links.find((link) => link.name === name)?.mac;
    return found === undefined ? { name } : { name, mac: found };
  };
  return [
    told(bridge),
    told(hostEnd),
    { name: ifname, ...(mac === undefined ? {} : { mac }), sandbox: netns },
    ...more.map(told),
  ];
}

function nameTaken({ ifname, netns, containerId }: Request): OpError {
  return new OpError("attach", `${containerId} ${ifname}`, {
    code: ErrorCode.plugin,
    kernel: `container veth name ${JSON.stringify(ifname)} already exists in ${netns}`,
    advice: "The pod is attached already; DEL it first",
  });
}
