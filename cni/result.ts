/**
 * Results. Inside, one typed form, that of CNI 1.1; at the border, the form of the configuration's
 * version, both ways (CNI specification, "Result types", and its older versions).
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { type Inet, type Ip, parseInet, parseIp } from "../engine/ip.ts";
import { Fields, type Json, JsonObject, jsonObject } from "../engine/json.ts";
import { formatOf, isVersion, type Version } from "./versions.ts";

/** An interface that exists after ADD. */
export interface ResultInterface {
  readonly name: string;
  /** Lower-case hexadecimal pairs with colons. */
  readonly mac?: string;
  /** Bytes. */
  readonly mtu?: number;
  /** `CNI_NETNS` as it was given, for an interface in the pod; absent for one of the node. */
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciID?: string;
}

/** An address that the pod has. */
export interface ResultIp {
  readonly address: Inet;
  readonly gateway?: Ip;
  /** Index into {@link Result.interfaces}; runtimes have been seen to pass -1 and beyond the end. */
  readonly interface?: number;
}

/** A route that the pod has. */
export interface ResultRoute {
  /** Host bits are kept. */
  readonly dst: Inet;
  readonly gw?: Ip;
  /** Bytes. */
  readonly mtu?: number;
  /** Bytes. */
  readonly advmss?: number;
  /** The route's metric. */
  readonly priority?: number;
  /** Routing table; 0 is a value. */
  readonly table?: number;
  /** `rtm_scope`; 0 is a value. */
  readonly scope?: number;
}

/** What a resolver should know; empty where nothing is known. */
export interface Dns {
  readonly nameservers: readonly string[];
  readonly domain: string;
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** What ADD made. */
export interface Result {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
  readonly dns: Dns;
}

/** Nothing known about name resolution. */
export const NO_DNS: Dns = { nameservers: [], domain: "", search: [], options: [] };

/** A result that tells nothing. */
export const EMPTY_RESULT: Result = { interfaces: [], ips: [], routes: [], dns: NO_DNS };

/**
 * Reads a result of any version.
 *
 * @param assumed the version of a result that names none.
 * @throws {SyntaxError} when a known member has the wrong form, or the version is not supported.
 */
export function parseResult(value: Json, assumed: Version): Result {
  if (value === null) return EMPTY_RESULT;
  if (!(value instanceof JsonObject)) throw new SyntaxError("a result must be a JSON object");
  const fields = new Fields(value);
  switch (formatOf(resultVersion(fields, assumed))) {
    case "0.1":
      return parseOldest(fields);
    case "0.3":
    case "1.0":
      return {
        interfaces: (fields.objects("interfaces") ?? []).map(parseInterface),
        ips: (fields.objects("ips") ?? []).map(parseIps),
        routes: parseRoutes(fields),
        dns: parseDns(fields.fields("dns")),
      };
  }
}

/**
 * The version of a result: what it says, else (also for empty text) the assumed one.
 *
 * @throws {SyntaxError} when it says one that we do not know.
 */
export function resultVersion(fields: Fields, assumed: Version): Version {
  const version = fields.string("cniVersion") || assumed;
  if (!isVersion(version)) {
    throw new SyntaxError(`unsupported cniVersion ${JSON.stringify(version)} of a result`);
  }
  return version;
}

function parseOldest(fields: Fields): Result {
  const families = [fields.fields("ip4"), fields.fields("ip6")].filter((f) => f !== undefined);
  return {
    interfaces: [],
    ips: families.map((family) => ({
      address: required(family, "ip", parseInet),
      ...optional("gateway", address(family, "gateway")),
    })),
    routes: families.flatMap(parseRoutes),
    dns: parseDns(fields.fields("dns")),
  };
}

function parseInterface(fields: Fields): ResultInterface {
  return {
    name: fields.string("name") ?? "",
    ...optional("mac", fields.string("mac") || undefined),
    ...optional("mtu", fields.integer("mtu") || undefined),
    ...optional("sandbox", fields.string("sandbox") || undefined),
    ...optional("socketPath", fields.string("socketPath") || undefined),
    ...optional("pciID", fields.string("pciID") || undefined),
  };
}

function parseIps(fields: Fields): ResultIp {
  return {
    address: required(fields, "address", parseInet),
    ...optional("gateway", address(fields, "gateway")),
    ...optional("interface", fields.integer("interface")),
  };
}

/**
 * Reads the member `routes` of a result or of an IPAM configuration; none counts as empty.
 *
 * @throws {SyntaxError} when a route has no valid `dst`, or another member has the wrong form.
 */
export function parseRoutes(fields: Fields): readonly ResultRoute[] {
  return (fields.objects("routes") ?? []).map((route) => ({
    dst: required(route, "dst", parseInet),
    ...optional("gw", address(route, "gw")),
    ...optional("mtu", route.integer("mtu") || undefined),
    ...optional("advmss", route.integer("advmss") || undefined),
    ...optional("priority", route.integer("priority") || undefined),
    ...optional("table", route.integer("table")),
    ...optional("scope", route.integer("scope")),
  }));
}

/**
 * Reads a `dns` object; none counts as empty.
 *
 * @throws {SyntaxError} when a member has the wrong form.
 */
export function parseDns(fields: Fields | undefined): Dns {
  return {
    nameservers: fields?.strings("nameservers") ?? [],
    domain: fields?.string("domain") ?? "",
    search: fields?.strings("search") ?? [],
    options: fields?.strings("options") ?? [],
  };
}

/** True when nothing is known about name resolution. */
export function isEmptyDns(dns: Dns): boolean {
  return dns.domain === "" && dns.nameservers.length + dns.search.length + dns.options.length === 0;
}

/** One optional property, so that an absent member stays absent. */
function optional<Key extends string, T>(
  key: Key,
  value: T | undefined,
): { readonly [K in Key]?: T } {
  return value === undefined ? {} : { [key]: value } as { [K in Key]: T };
}

function required<T>(fields: Fields, name: string, parse: (text: string) => T): T {
  const text = fields.string(name);
  if (text === undefined) throw new SyntaxError(`${fields.pathOf(name)}: want a CIDR, got nothing`);
  return at(fields, name, text, parse);
}

function address(fields: Fields, name: string): Ip | undefined {
  const text = fields.string(name);
  return text === undefined || text === "" ? undefined : at(fields, name, text, parseIp);
}

function at<T>(fields: Fields, name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (cause) {
    throw new SyntaxError(`${fields.pathOf(name)}: ${(cause as Error).message}`, { cause });
  }
}

/** True when a result of this version cannot exist without an address. */
export function needsAddress(version: Version): boolean {
  return formatOf(version) === "0.1";
}

/**
 * The result in the form of a version, with that version's `cniVersion`.
 *
 * @throws {OpError} code 999 when the version cannot express it: CNI 0.2 knows no result without
 *   an address.
 */
export function formatResult(result: Result, version: Version): JsonObject {
  switch (formatOf(version)) {
    case "0.1":
      return formatOldest(result, version);
    case "0.3":
      return jsonObject({
        cniVersion: version,
        interfaces: list(
          result.interfaces.map(({ name, mac, sandbox }) => jsonObject({ name, mac, sandbox })),
        ),
        ips: list(
          result.ips.map((ip) =>
            jsonObject({ version: isIpv4(ip.address) ? "4" : "6", ...ipMembers(ip) })
          ),
        ),
        routes: list(result.routes.map(routeObject)),
        dns: dnsObject(result.dns),
      });
    case "1.0":
      return jsonObject({
        cniVersion: version,
        interfaces: list(result.interfaces.map((one) =>
          jsonObject({
            name: one.name,
            mac: one.mac,
            mtu: one.mtu,
            sandbox: one.sandbox,
            socketPath: one.socketPath,
            pciID: one.pciID,
          })
        )),
        ips: list(result.ips.map((ip) => jsonObject(ipMembers(ip)))),
        routes: list(result.routes.map(routeObject)),
        dns: isEmptyDns(result.dns) ? undefined : dnsObject(result.dns),
      });
  }
}

function formatOldest(result: Result, version: Version): JsonObject {
  if (result.ips.length === 0) {
    throw new OpError("express", `a result in the form of CNI ${version}`, {
      code: ErrorCode.plugin,
      kernel: "no valid IP addresses",
      advice: "Use cniVersion 0.3.1 or later for attachments without addresses",
    });
  }
  const family = (four: boolean): JsonObject | undefined => {
    const ip = result.ips.find((one) => isIpv4(one.address) === four);
    if (ip === undefined) return undefined;
    const routes = result.routes.filter((route) => isIpv4(route.dst) === four)
      .map(({ dst, gw }) => jsonObject({ dst, gw }));
    return jsonObject({ ip: ip.address, gateway: ip.gateway, routes: list(routes) });
  };
  return jsonObject({
    cniVersion: version,
    ip4: family(true),
    ip6: family(false),
    dns: dnsObject(result.dns),
  });
}

function ipMembers(ip: ResultIp): Record<string, Json | undefined> {
  return { interface: ip.interface, address: ip.address, gateway: ip.gateway };
}

/** A route as results and configurations have it. */
export function routeObject(route: ResultRoute): JsonObject {
  return jsonObject({
    dst: route.dst,
    gw: route.gw,
    mtu: route.mtu,
    advmss: route.advmss,
    priority: route.priority,
    table: route.table,
    scope: route.scope,
  });
}

function dnsObject(dns: Dns): JsonObject {
  return jsonObject({
    nameservers: list(dns.nameservers),
    domain: dns.domain || undefined,
    search: list(dns.search),
    options: list(dns.options),
  });
}

/** An empty list is left out. */
function list(items: readonly Json[]): readonly Json[] | undefined {
  return items.length === 0 ? undefined : items;
}

/** An IPv4-mapped IPv6 address counts as IPv4 here. */
function isIpv4(prefix: Inet): boolean {
  return !prefix.includes(":") || prefix.startsWith("::ffff:") && prefix.includes(".");
}
