/**
 * The configuration of the `bandwidth` plugin, and what the kernel is told for it.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Fields } from "../../engine/json.ts";
import type { Bucket } from "../../ffi/traffic.ts";
import { readConfig } from "../errors.ts";
import type { Request } from "../plugin.ts";

/** A limit as operators write it. */
export interface Limit {
  /** Bits per second. */
  readonly rate: number;
  /** Bits that may pass at once. */
  readonly burst: number;
}

/** What the pod may receive (ingress) and send (egress); absent: as much as it likes. */
export interface BandwidthConfig {
  readonly ingress?: Limit;
  readonly egress?: Limit;
}

const MEMBERS = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"] as const;

/** Members of later reference plugins: parts of the traffic only. */
const UNSUPPORTED = ["shapedSubnets", "unshapedSubnets"] as const;

const MAX_U32 = 0xffff_ffff;

/**
 * Reads the limits: those of the configuration itself when any of its members is there, else those
 * of the runtime.
 *
 * @throws {OpError} code 7 naming the member, 2 for what this version cannot do.
 */
export function bandwidthConfig(request: Request): BandwidthConfig {
  const { config } = request;
  return readConfig("failed to parse config", () => {
    const runtime = config.fields("runtimeConfig")?.fields("bandwidth");
    const own = MEMBERS.some((name) => config.has(name)) || runtime === undefined;
    const source = own ? config : runtime;
    for (const fields of [config, ...(runtime === undefined ? [] : [runtime])]) refuse(fields);
    const ingress = limitOf(source, "ingress");
    const egress = limitOf(source, "egress");
    return { ...(ingress && { ingress }), ...(egress && { egress }) };
  });
}

function refuse(fields: Fields): void {
  const asked = UNSUPPORTED.filter((name) => (fields.list(name) ?? []).length > 0);
  if (asked.length === 0) return;
  throw new OpError("use", asked.join(", "), {
    code: ErrorCode.unsupportedField,
    kernel: "limits for some subnets only are not supported",
    advice: `Remove ${asked.join(", ")} from the network configuration`,
  });
}

function limitOf(fields: Fields, direction: "ingress" | "egress"): Limit | undefined {
  const [rateName, burstName] = [`${direction}Rate`, `${direction}Burst`];
  const [rate, burst] = [fields.unsigned(rateName) ?? 0, fields.unsigned(burstName) ?? 0];
  if (rate === 0 && burst === 0) return undefined;
  if (burst === 0) throw new SyntaxError(`if ${rateName} is set, ${burstName} must also be set`);
  if (rate === 0) throw new SyntaxError(`if ${burstName} is set, ${rateName} must also be set`);
  if (rate < 8) throw new SyntaxError(`${fields.pathOf(rateName)}: want 8 bits a second or more`);
  if (burst / 8 >= MAX_U32) {
    throw new SyntaxError(`${fields.pathOf(burstName)}: cannot be more than 4 GB`);
  }
  return { rate, burst };
}

/** How long a packet may wait for tokens, microseconds. */
const LATENCY = 25_000;
const MICROSECONDS = 1_000_000;
/** Kernel ticks (64 ns) in a microsecond. */
const TICKS = 15.625;

/**
 * What the kernel is told, in the reference plugin's arithmetic: whole bytes, whole microseconds.
 * Numbers that do not fit the kernel's fields become the largest that do (the reference's lose
 * their high bits, and a generous burst becomes a tiny one).
 */
export function bucketOf({ rate, burst }: Limit): Bucket {
  const [bytesPerSecond, bytes] = [Math.floor(rate / 8), Math.floor(burst / 8)];
  const time = fit(bytes * MICROSECONDS / bytesPerSecond);
  return {
    rate: bytesPerSecond,
    limit: fit(Math.floor(bytesPerSecond * LATENCY / MICROSECONDS) + bytes),
    buffer: fit(time * TICKS),
  };
}

function fit(number: number): number {
  return Math.min(Math.floor(number), MAX_U32);
}

/** True when the kernel holds the bucket. */
export function holds(have: Bucket, want: Bucket): boolean {
  return have.rate === want.rate && have.limit === want.limit && have.buffer === want.buffer;
}
