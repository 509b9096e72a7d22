/**
 * What `trace` asks of the kernel beside facts. Tests give fakes of it.
 *
 * @module
 */

import type { Family } from "../../engine/ip.ts";
import type { Encapsulated, MarkedPacket } from "../../engine/trace/marked.ts";
import type { LiveResult } from "../../ffi/live_trace.ts";
import type { RouteAnswer, RouteQuestion } from "../../engine/trace/lookup.ts";

/** See the module; what it opened is closed when disposed. */
export interface TraceTools extends Disposable {
  /**
   * Which way a kernel would send a packet.
   *
   * @param netns a pod's namespace; absent: this node's.
   * @throws {OpError} when it cannot be asked.
   */
  lookUp(netns: string | undefined, question: RouteQuestion): RouteAnswer;
  /** All rules of nftables, as `nft -s list ruleset` prints them. @throws {OpError} */
  ruleset(): string;
  /** The text of a rule by its number; undefined when it is gone. @throws {OpError} */
  ruleText(table: string, chain: string, handle: bigint): string | undefined;
  /** A number that marks a packet of ours: 20000 to 59999. */
  token(): number;
  /** Sends one packet, and tells where the kernel saw it: see `ffi/live_trace.ts`. @throws {OpError} */
  live(
    netns: string | undefined,
    packet: MarkedPacket,
    outer: Encapsulated | undefined,
  ): Promise<LiveResult>;
  /** One table as `iptables-save` prints it; undefined without iptables. @throws {OpError} */
  iptables(family: Family, table: string): string | undefined;
}
