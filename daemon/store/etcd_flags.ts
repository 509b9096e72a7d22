/**
 * From the command line to a way to reach etcd. What cannot work, or would give a secret away, ends
 * the start with words that name the flag or the file.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Flags } from "../flags.ts";
import type { Log } from "../log.ts";
import type { EtcdOptions } from "./etcd.ts";
import { type EtcdEndpoint, parseEndpoint } from "./etcd_endpoint.ts";
import { TlsFiles } from "./etcd_tls.ts";

/** The flags that are read here. */
export type EtcdFlags = Pick<
  Flags,
  | "etcd-endpoints"
  | "etcd-cafile"
  | "etcd-certfile"
  | "etcd-keyfile"
  | "etcd-username"
  | "etcd-password"
  | "etcd-allow-insecure-auth"
>;

/**
 * What the flags say about etcd. Reads the TLS files.
 *
 * @throws {OpError} naming the flag or file that cannot be used.
 */
export function etcdOptionsOf(flags: EtcdFlags, log: Log): EtcdOptions {
  const paths = {
    ca: flags["etcd-cafile"],
    cert: flags["etcd-certfile"],
    key: flags["etcd-keyfile"],
  };
  const wantsTls = Object.values(paths).some((path) => path !== "");
  const endpoints = parseEndpoints(flags["etcd-endpoints"], wantsTls);
  const plain = endpoints.filter(({ secure }) => !secure).map(({ url }) => url);
  const tls = wantsTls ? new TlsFiles(paths, log) : undefined;
  if (wantsTls && plain.length > 0) {
    log.warn("TLS files are not used for endpoints that begin with http://", {
      endpoints: plain.join(","),
    });
  }
  const auth = authOf(flags, plain);
  return {
    endpoints: endpoints.map(({ url }) => url),
    ...(tls && { tls: () => tls.current() }),
    ...(auth && { auth }),
  };
}

function parseEndpoints(text: string, secure: boolean): EtcdEndpoint[] {
  const words = text.split(",").map((word) => word.trim()).filter((word) => word !== "");
  const seen = new Set<string>();
  const endpoints = words.map((word) => {
    try {
      return parseEndpoint(word, secure);
    } catch (cause) {
      const { message } = cause as SyntaxError;
      throw unusable("--etcd-endpoints", { kernel: message, cause });
    }
  }).filter(({ url }) => !seen.has(url) && seen.add(url));
  if (endpoints.length > 0) return endpoints;
  throw unusable("--etcd-endpoints", { kernel: "it names no endpoint" });
}

function authOf(flags: EtcdFlags, plain: readonly string[]): EtcdOptions["auth"] {
  const { "etcd-username": username, "etcd-password": password } = flags;
  if (username === "" && password === "") return undefined;
  if (username === "" || password === "") {
    throw unusable(username === "" ? "--etcd-password" : "--etcd-username", {
      kernel: "user and password go together",
      advice: "Set both, or neither",
    });
  }
  if (plain.length > 0 && !flags["etcd-allow-insecure-auth"]) {
    throw unusable("--etcd-username", {
      kernel: `${plain.join(",")} is without TLS: everybody on the way could read the password`,
      advice: "Use https:// endpoints with --etcd-cafile, or allow it: --etcd-allow-insecure-auth",
    });
  }
  return { username, password };
}

function unusable(
  flag: string,
  details: { readonly kernel: string; readonly advice?: string; readonly cause?: unknown },
): OpError {
  return new OpError("use", flag, { code: ErrorCode.badConfig, ...details });
}
