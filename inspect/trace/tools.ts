/**
 * What `trace` asks of the kernel beside facts. Tests give fakes of it.
 *
 * @module
 */

import type { Family } from "../../engine/ip.ts";
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
  /** One table as `iptables-save` prints it; undefined without iptables. @throws {OpError} */
  iptables(family: Family, table: string): string | undefined;
}
