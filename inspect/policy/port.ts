/**
 * Protocol and port as a word.
 *
 * @module
 */

import { type Protocol, PROTOCOLS } from "../../engine/policy/model.ts";
import type { Service } from "./decide.ts";

/** Reads `80`, `80/TCP`, `udp/53`, `icmp`. @throws {SyntaxError} */
export function parseService(word: string): Service {
  if (/^icmp(v6)?$/i.test(word)) return { protocol: "other" };
  const [a = "", b = "", ...more] = word.toUpperCase().split("/");
  const [number, name] = /^\d+$/.test(a) ? [a, b || "TCP"] : [b, a];
  const protocol = PROTOCOLS.find((one): one is Protocol => one === name);
  const port = Number(number);
  if (
    protocol === undefined || !/^\d+$/.test(number) || port < 1 || port > 65535 || more.length > 0
  ) {
    throw new SyntaxError(
      `want the pod's port: 80, 80/TCP, 53/UDP, 80/SCTP, or icmp; got ${JSON.stringify(word)}`,
    );
  }
  return { protocol, port };
}

/** The same in words. */
export function serviceText({ protocol, port }: Service): string {
  return protocol === "other" ? "ICMP" : `${protocol} ${port}`;
}
