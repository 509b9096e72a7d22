/**
 * Where an etcd member listens, and in an operator's words why it does not serve us.
 *
 * @module
 */

import { type Ip, parseIp } from "../../engine/ip.ts";

/** One member of etcd. */
export interface EtcdEndpoint {
  /** For messages: `https://10.0.0.2:2379`. */
  readonly url: string;
  /** `host:port`, an IPv6 address in brackets. */
  readonly target: string;
  /** Name or address without brackets: what its certificate must name. */
  readonly host: string;
  /** The host is an address. */
  readonly isAddress: boolean;
  /** TLS is spoken. */
  readonly secure: boolean;
}

const ENDPOINT = /^(?:(https?):\/\/)?(\[[^\]]+\]|[^:/@?#[\]\s]+):(\d{1,5})\/?$/i;

/**
 * Reads `https://host:port`, `http://host:port`, or `host:port`.
 *
 * @param secureUnlessSaid whether an endpoint without a scheme speaks TLS.
 * @throws {SyntaxError} when it is anything else.
 */
export function parseEndpoint(text: string, secureUnlessSaid = false): EtcdEndpoint {
  const [, scheme, name = "", port = ""] = ENDPOINT.exec(text.trim()) ?? [];
  const host = name.replace(/^\[|\]$/g, "");
  const address = addressIn(host);
  // Brackets are for addresses only, and so is a host of digits and dots.
  const wrong = address === undefined && (name !== host || /^[\d.]+$/.test(host));
  if (Number(port) < 1 || Number(port) > 65_535 || wrong) {
    throw new SyntaxError(
      `no etcd endpoint: ${JSON.stringify(text)}; want https://HOST:PORT or http://HOST:PORT`,
    );
  }
  const secure = scheme === undefined ? secureUnlessSaid : scheme.toLowerCase() === "https";
  return {
    url: `${secure ? "https" : "http"}://${name}:${port}`,
    target: `${name}:${port}`,
    host: address ?? host,
    isAddress: address !== undefined,
    secure,
  };
}

function addressIn(text: string): Ip | undefined {
  try {
    return parseIp(text);
  } catch {
    return undefined;
  }
}

/** System error codes in words. */
const CODES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  ETIMEDOUT: "connection timed out",
  EPIPE: "connection reset",
};

/**
 * What a gRPC message means. The same trouble always gives the same words, so that it is logged
 * once: no durations, ports of our side or library's notes.
 *
 * @param patience milliseconds that were waited.
 */
export function wordsOf(message: string, patience: number): string {
  // gRPC puts a number and a name before the words, the library the name of its class.
  const words = message.replace(/^(\w+: )?\d+ [A-Z_]+: /, "");
  if (/^Deadline exceeded/.test(words)) return `no answer within ${patience} ms`;
  if (/^Name resolution failed/.test(words)) return "its name cannot be resolved";
  const inner = /^No connection established(?:\. Last error: (.*?))?(?:\. Resolution note: (.*))?$/s
    .exec(words);
  const reason = inner === null ? words : inner[1] || inner[2] || "no connection";
  const code = /\b(E[A-Z]{4,})\b/.exec(reason)?.[1] ?? "";
  return CODES[code] ?? reason.replace(/^(?:\w*Error(?: \[\w+\])?: )+/, "").trim();
}
