/**
 * The configuration of the `bridge` plugin.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Fields } from "../../engine/json.ts";
import { type Mac, parseMac } from "../../engine/mac.ts";
import { parseArgs } from "../args.ts";
import { readConfig } from "../errors.ts";
import type { Request } from "../plugin.ts";
import { type Dns, isEmptyDns, parseDns } from "../result.ts";

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
 * @throws {OpError} code 7 naming the member, 2 for what this version cannot do, 999 for CNI_ARGS.
 */
export function bridgeConfig(request: Request): BridgeConfig {
  return readConfig("failed to load netconf", () => {
    const config = read(request);
    refuseCombinations(config);
    refuseUnsupported(request.config);
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
  const mac = macOf(request);
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

/** What this version cannot do is refused by name, never left out in silence. */
function refuseUnsupported(config: Fields): void {
  const asked = [
    ...(config.boolean("ipMasq") ? ["ipMasq"] : []),
    ...(config.boolean("macspoofchk") ? ["macspoofchk"] : []),
    ...(config.integer("vlan") ? ["vlan"] : []),
    ...((config.list("vlanTrunk") ?? []).length > 0 ? ["vlanTrunk"] : []),
  ];
  if (asked.length === 0) return;
  throw new OpError("use", asked.join(", "), {
    code: ErrorCode.unsupportedField,
    kernel: "this version of twill does not have it",
    advice: asked.includes("ipMasq")
      ? "Let the daemon masquerade: start it with --ip-masq"
      : `Remove ${asked.join(", ")} from the network configuration`,
  });
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
