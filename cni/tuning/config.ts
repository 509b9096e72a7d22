/**
 * The configuration of the `tuning` plugin.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Fields, JsonObject } from "../../engine/json.ts";
import { parseMac } from "../../engine/mac.ts";
import type { LinkSettings } from "../../ffi/link_settings.ts";
import { parseArgs } from "../args.ts";
import { readConfig } from "../errors.ts";
import type { Request } from "../plugin.ts";

/** Where the former settings are kept unless `dataDir` says otherwise. */
const DEFAULT_DATA_DIR = "/run/cni/tuning";

/** Regular expressions, one a line; where there is such a file, a setting must match one. */
export const ALLOW_LIST = "/etc/cni/tuning/allowlist.conf";

/** Largest number of a 32-bit field. */
const MAX_U32 = 0xffff_ffff;

/** One kernel setting of the pod. */
export interface Sysctl {
  /** As the operator wrote it. */
  readonly name: string;
  /** Below `/proc/sys`. */
  readonly key: string;
  readonly value: string;
}

/** What the operator and the runtime ask for. */
export interface TuningConfig {
  readonly sysctls: readonly Sysctl[];
  /** Settings of the pod's interface. `promisc` is here only when it is to be on. */
  readonly link: LinkSettings;
}

/**
 * Reads the configuration: `args.cni` goes before `runtimeConfig`, that before `CNI_ARGS`, and that
 * before the plain members.
 *
 * @throws {OpError} code 7 naming the member; 999 for `CNI_ARGS`.
 */
export function tuningConfig(request: Request): TuningConfig {
  const { MAC } = parseArgs(request.args, ["MAC"]);
  return readConfig("failed to load netconf", () => {
    const { config } = request;
    const args = config.fields("args")?.fields("cni");
    const mac = args?.string("mac") || config.fields("runtimeConfig")?.string("mac") || MAC ||
      config.string("mac");
    const promisc = args?.boolean("promisc") ?? config.boolean("promisc") ?? false;
    const mtu = mtuOf(args) || mtuOf(config);
    const allmulti = args?.boolean("allmulti") ?? config.boolean("allmulti");
    const txQueueLength = args?.unsigned("txQLen", MAX_U32) ?? config.unsigned("txQLen", MAX_U32);
    return {
      sysctls: sysctls(args?.object("sysctl") ?? config.object("sysctl"), request.ifname),
      link: {
        ...(mac ? { mac: parseMac(mac) } : {}),
        ...(promisc ? { promisc } : {}),
        ...(mtu ? { mtu } : {}),
        ...(allmulti === undefined ? {} : { allmulti }),
        ...(txQueueLength === undefined ? {} : { txQueueLength }),
      },
    };
  });
}

/** The directory of the former settings: all that DEL and GC need. @throws {OpError} code 7 */
export function dataDirOf(request: Request): string {
  return readConfig(
    "failed to load netconf",
    () => request.config.string("dataDir") || DEFAULT_DATA_DIR,
  );
}

/** 0 and absent: not set. */
function mtuOf(fields: Fields | undefined): number | undefined {
  return fields?.unsigned("mtu", MAX_U32);
}

/**
 * The settings in the order of the document.
 *
 * @throws {SyntaxError} when one is given twice, has no text as value, or is none of the network's.
 */
function sysctls(object: JsonObject | undefined, ifname: string): Sysctl[] {
  const found: Sysctl[] = [];
  for (const [name, value] of object?.members ?? []) {
    if (typeof value !== "string") {
      throw new SyntaxError(`sysctl: value of ${JSON.stringify(name)}: want a string`);
    }
    const key = sysctlKey(name, ifname);
    if (found.some((other) => other.key === key)) {
      throw new SyntaxError(`sysctl: duplicate key ${JSON.stringify(name)}`);
    }
    found.push({ name, key, value });
  }
  return found;
}

/**
 * The path of a setting below `/proc/sys`. Names are written with dots; one whose first separator
 * is a slash is a path already, and its dots belong to the names in it, as for sysctl(8). The
 * word `IFNAME` stands for the pod's interface, whose own dots separate nothing.
 *
 * @throws {SyntaxError} for a setting that is not the network's: it would hold for the whole node.
 */
export function sysctlKey(name: string, ifname: string): string {
  const separator = /[./]/.exec(name)?.[0] ?? ".";
  const path = separator === "." ? name.replaceAll(".", "/") : name;
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts[0] !== "net" || parts.length < 2 || parts.includes("..") || name.includes("\0")) {
    throw new SyntaxError(`sysctl: invalid net sysctl key ${JSON.stringify(name)}`);
  }
  return parts.join("/").replaceAll("IFNAME", ifname);
}

/** The expressions of the file; undefined when there is no file. @throws {OpError} code 7 */
export function readAllowList(path: string = ALLOW_LIST): readonly RegExp[] | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new OpError("read allow list", path, { code: ErrorCode.io, cause });
  }
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "").map((line) => {
    try {
      return new RegExp(line);
    } catch (cause) {
      throw new OpError("use allow list", path, {
        code: ErrorCode.badConfig,
        kernel: messageOf(cause),
        advice: "Each line must be a regular expression",
        cause,
      });
    }
  });
}

/** Refuses settings that the operator of this node did not allow. @throws {OpError} code 7 */
export function checkAllowed(sysctls: readonly Sysctl[]): void {
  if (sysctls.length === 0) return;
  const allowed = readAllowList();
  const refused = sysctls.find(({ name }) => allowed?.every((one) => !one.test(name)));
  if (refused === undefined) return;
  throw new OpError("set sysctl", refused.name, {
    code: ErrorCode.badConfig,
    kernel: `Sysctl ${refused.name} is not allowed`,
    advice: `Allowed is what matches a line of ${ALLOW_LIST}: ${
      allowed?.map((one) => one.source).join(" ") || "nothing"
    }`,
  });
}
