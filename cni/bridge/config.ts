/**
 * The configuration of the `bridge` plugin.
 *
 * @module
 */

import type { Fields } from "../../engine/json.ts";
import { type Mac, parseMac } from "../../engine/mac.ts";
import type { PodVlans } from "../../engine/pod_vlan.ts";
import { parseArgs } from "../args.ts";
import { readConfig } from "../errors.ts";
import { type Backend, parseBackend } from "../backend.ts";
import type { Request } from "../plugin.ts";
import { type Dns, isEmptyDns, parseDns } from "../result.ts";
import { vlanConfig } from "./vlan_config.ts";

/** What the operator asked of the bridge plugin. */
export interface BridgeConfig {
  /** Name of the bridge device. */
  readonly bridge: string;
  /** The bridge carries the gateway addresses, and the node forwards. */
  readonly isGateway: boolean;
  /** Pods get a default route by the gateway. */
  readonly isDefaultGateway: boolean;
  /** A conflicting address of the bridge is replaced instead of failing. */
  readonly forceAddress: boolean;
  /** Bytes; absent: the kernel's default. */
  readonly mtu?: number;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  /** Keep IPv6 duplicate address detection on. */
  readonly enableDad: boolean;
  /** Leave the pod's interface down. */
  readonly disableContainerInterface: boolean;
  readonly portIsolation: boolean;
  /** Traffic that leaves the pod's networks gets the node's address. */
  readonly ipMasq: boolean;
  /** Absent: iptables where it is usable, else nftables. */
  readonly ipMasqBackend?: Backend;
  /** Frames of the pod with another source MAC address are dropped. */
  readonly macSpoofCheck: boolean;
  /** VLANs of the pod's port; absent: the bridge is not asked to tell VLANs apart. */
  readonly vlan?: PodVlans;
  /** The IPAM plugin's type; empty: an attachment of layer 2 only. */
  readonly ipam: string;
  /** Replaces the IPAM's when any part of it is set. */
  readonly dns?: Dns;
  readonly mac?: Mac;
}

const MAX_MTU = 65_535;

/**
 * Reads and validates the configuration.
 *
 * @throws {OpError} code 7 naming the member, 999 for CNI_ARGS.
 */
export function bridgeConfig(request: Request): BridgeConfig {
  return readConfig("failed to load netconf", () => {
    const config = read(request);
    refuseCombinations(config);
    return config;
  });
}

/** The part that DEL needs: the IPAM plugin's type. @throws {OpError} code 7 */
export function ipamType(request: Request): string {
  return readConfig("failed to load netconf", () => ipamOf(request.config));
}

function ipamOf(config: Fields): string {
  return config.fields("ipam")?.string("type") ?? "";
}

function read(request: Request): BridgeConfig {
  const { config } = request;
  const flag = (name: string): boolean => config.boolean(name) ?? false;
  const isDefaultGateway = flag("isDefaultGateway");
  const bridge = config.string("bridge") ?? "cni0";
  if (bridge === "") throw new SyntaxError("bridge: want the name of a device, got nothing");
  const mtu = config.integer("mtu") || undefined;
  if (mtu !== undefined && (mtu < 68 || mtu > MAX_MTU)) {
    throw new SyntaxError(`mtu: want 68 to ${MAX_MTU}, or 0 for the kernel's default, got ${mtu}`);
  }
  const dns = parseDns(config.fields("dns"));
  const vlan = vlanConfig(config);
  const mac = macOf(request);
  const ipMasq = flag("ipMasq");
  const backend = config.string("ipMasqBackend");
  const ipMasqBackend = ipMasq ? parseBackend(backend, "unknown ipmasq backend") : undefined;
  return {
    bridge,
    isGateway: isDefaultGateway || flag("isGateway"),
    isDefaultGateway,
    forceAddress: flag("forceAddress"),
    ...(mtu === undefined ? {} : { mtu }),
    hairpinMode: flag("hairpinMode"),
    promiscMode: flag("promiscMode"),
    enableDad: flag("enabledad"),
    disableContainerInterface: flag("disableContainerInterface"),
    portIsolation: flag("portIsolation"),
    ipMasq,
    ...(ipMasqBackend === undefined ? {} : { ipMasqBackend }),
    macSpoofCheck: flag("macspoofchk"),
    ...(vlan === undefined ? {} : { vlan }),
    ipam: ipamOf(config),
    ...(isEmptyDns(dns) ? {} : { dns }),
    ...(mac === undefined ? {} : { mac }),
  };
}

function refuseCombinations(config: BridgeConfig): void {
  if (config.hairpinMode && config.promiscMode) {
    throw new SyntaxError("cannot set hairpin mode and promiscuous mode at the same time");
  }
  if (config.disableContainerInterface && config.ipam !== "") {
    throw new SyntaxError("cannot use IPAM when DisableContainerInterface flag is set");
  }
}

/** The MAC address asked for: the runtime's, else that of `args`, else that of `CNI_ARGS`. */
function macOf(request: Request): Mac | undefined {
  const { config } = request;
  const { MAC: args } = parseArgs(request.args, ["MAC"]);
  const asked = config.fields("runtimeConfig")?.string("mac") ||
    config.fields("args")?.fields("cni")?.string("mac") ||
    args;
  return asked === undefined || asked === "" ? undefined : parseMac(asked);
}
