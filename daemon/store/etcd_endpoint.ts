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
export function wordsOf(
  message: string,
  { secure }: Pick<EtcdEndpoint, "secure">,
  patience: number,
): string {
  // gRPC puts a number and a name before the words, the library the name of its class.
  const words = message.replace(/^(\w+: )?\d+ [A-Z_]+: /, "").replace(/ \(\d{4}-[\d:.TZ-]+\)/, "");
  if (words === "Connection dropped") return "connection lost";
  if (/^Deadline exceeded/.test(words)) return `no answer within ${patience} ms`;
  if (/^Name resolution failed/.test(words)) return "its name cannot be resolved";
  const inner = /^No connection established(?:\. Last error: (.*?))?(?:\. Resolution note: (.*))?$/s
    .exec(words);
  const reason = inner === null ? words : inner[1] || inner[2] || "no connection";
  if (/unable to (verify|get)|self.signed/.test(reason)) {
    return "its certificate comes from none of the authorities that we trust (--etcd-cafile)";
  }
  const alert = /fatal alert: (\w*Certificate\w*)/.exec(reason)?.[1];
  if (alert !== undefined) return `it wants another client certificate (${alert})`;
  const code = /\b(E[A-Z]{4,})\b/.exec(reason)?.[1] ?? "";
  const plain = CODES[code] ?? reason.replace(/^(?:\w*Error(?: \[\w+\])?: )+/, "").trim();
  if (/before secure TLS connection/.test(plain)) return "it does not speak TLS; is it http://?";
  // Ends without a word of TLS.
  if (!/^(connection reset|Failed to connect|read |socket )/.test(plain)) return plain;
  return secure
    ? "connection reset; does it want another client certificate?"
    : "connection reset; does it want https://?";
}
