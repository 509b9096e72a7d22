/**
 * The configuration of the `portmap` plugin. All of it is examined before any rule is made.
 *
 * @module
 */

import type { Family, Ip } from "../../engine/ip.ts";
import { parseIp } from "../../engine/ip.ts";
import type { Fields } from "../../engine/json.ts";
import { type PortMapping, type Protocol, PROTOCOLS } from "../../engine/rules/hostports.ts";
import { readConfig } from "../errors.ts";
import { type Backend, parseBackend } from "../backend.ts";
import type { Request } from "../plugin.ts";

/** What the operator and the runtime asked of the portmap plugin. */
export interface PortmapConfig {
  /** Absent: iptables where it is usable, else nftables. */
  readonly backend?: Backend;
  readonly mappings: readonly PortMapping[];
  /** Masquerade connections that could not be answered otherwise. */
  readonly snat: boolean;
  /** Masquerade all forwarded connections. */
  readonly masqAll: boolean;
  /** The bit that marks what is to be masqueraded, 0 to 31. */
  readonly markBit: number;
  /** A chain that marks in our place. */
  readonly markChain?: string;
  /** More words that packets to host ports must match. */
  readonly conditions: Readonly<Record<Family, readonly string[]>>;
}

const DEFAULT_MARK_BIT = 13;
const LAST_PORT = 65_535;
/** What iptables takes for a chain: `XT_EXTENSION_MAXNAMELEN` is 29 with its zero byte. */
const CHAIN_NAME = /^[^\s!"'-][^\s"']{0,27}$/;

/** Reads and validates the configuration. @throws {OpError} code 7 naming the member */
export function portmapConfig(request: Request): PortmapConfig {
  return readConfig("failed to parse config", () => {
    const { config } = request;
    const conditions = {
      4: conditionsOf(config, "conditionsV4"),
      6: conditionsOf(config, "conditionsV6"),
    };
    const markChain = config.string("externalSetMarkChain");
    const markBit = config.integer("markMasqBit");
    if (markChain !== undefined && markBit !== undefined) {
      throw new SyntaxError("cannot specify externalSetMarkChain and markMasqBit");
    }
    if (markChain !== undefined && !CHAIN_NAME.test(markChain)) {
      throw new SyntaxError(
        `externalSetMarkChain: want a chain of iptables, got ${JSON.stringify(markChain)}`,
      );
    }
    if (markBit !== undefined && (markBit < 0 || markBit > 31)) {
      throw new SyntaxError(`markMasqBit: want 0 to 31, got ${markBit}`);
    }
    const backend = backendOf(config, conditions, markChain);
    return {
      ...(backend === undefined ? {} : { backend }),
      mappings: mappingObjects(config).map(mappingOf),
      snat: config.boolean("snat") ?? true,
      masqAll: config.boolean("masqAll") ?? false,
      markBit: markBit ?? DEFAULT_MARK_BIT,
      ...(markChain === undefined ? {} : { markChain }),
      conditions,
    };
  });
}

/** True when there are mappings, whatever they say. @throws {OpError} code 7 */
export function hasMappings(request: Request): boolean {
  return readConfig("failed to parse config", () => mappingObjects(request.config).length > 0);
}

function mappingObjects(config: Fields): readonly Fields[] {
  return config.fields("runtimeConfig")?.objects("portMappings") ?? [];
}

function conditionsOf(config: Fields, name: string): readonly string[] {
  const words = config.strings(name) ?? [];
  const bad = words.find((word) => /[\n\r\0]/.test(word));
  if (bad === undefined) return words;
  throw new SyntaxError(`${name}: want words of one line, got ${JSON.stringify(bad)}`);
}

/** What only one back end understands chooses it, and must not contradict the choice. */
function backendOf(
  config: Fields,
  conditions: PortmapConfig["conditions"],
  markChain: string | undefined,
): Backend | undefined {
  const asked = parseBackend(config.string("backend"), "backend");
  const bound: [string, Backend][] = [
    ...(markChain === undefined ? [] : [["externalSetMarkChain", "iptables"] as [string, Backend]]),
    ...([["conditionsV4", conditions[4]], ["conditionsV6", conditions[6]]] as const).flatMap(
      ([name, [first]]): [string, Backend][] =>
        first === undefined ? [] : [[name, /^[-!]/.test(first) ? "iptables" : "nftables"]],
    ),
  ];
  const chosen = asked ?? bound[0]?.[1];
  const against = bound.find(([, backend]) => backend !== chosen);
  if (against === undefined) return chosen;
  throw new SyntaxError(`${against[0]}: it is for ${against[1]}, but the back end is ${chosen}`);
}

function mappingOf(fields: Fields): PortMapping {
  const hostIp = hostIpOf(fields);
  return {
    hostPort: portOf(fields, "hostPort", "Invalid host port number"),
    containerPort: portOf(fields, "containerPort", "Invalid container port number"),
    protocol: protocolOf(fields),
    ...(hostIp === undefined ? {} : { hostIp }),
  };
}

function portOf(fields: Fields, name: string, words: string): number {
  const port = fields.integer(name) ?? 0;
  if (port >= 1 && port <= LAST_PORT) return port;
  throw new SyntaxError(`${words}: ${fields.pathOf(name)} is ${port}, want 1 to ${LAST_PORT}`);
}

function protocolOf(fields: Fields): Protocol {
  const text = fields.string("protocol") ?? "";
  const protocol = PROTOCOLS.find((one) => one === text.toLowerCase());
  if (protocol !== undefined) return protocol;
  const want = PROTOCOLS.toReversed().join(", ");
  throw new SyntaxError(
    `${fields.pathOf("protocol")}: want one of ${want}, got ${JSON.stringify(text)}`,
  );
}

/** An IPv4 address in IPv6's clothes is an IPv4 address, as Go sees it. */
function hostIpOf(fields: Fields): Ip | undefined {
  const text = fields.string("hostIP") ?? "";
  if (text === "") return undefined;
  try {
    const ip = parseIp(text);
    return parseIp(/^::ffff:(\d+(?:\.\d+){3})$/.exec(ip)?.[1] ?? ip);
  } catch (cause) {
    throw new SyntaxError(`${fields.pathOf("hostIP")}: ${(cause as Error).message}`, { cause });
  }
}
