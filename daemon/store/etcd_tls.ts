/**
 * The files by which this node and etcd know each other. Read at the start, where a bad one is the
 * operator's to mend, and again for each new connection: certificates are renewed while we run.
 *
 * @module
 */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Log } from "../log.ts";

/** PEM texts. The same object as long as the files say the same. */
export interface EtcdTls {
  /** Authorities that etcd's certificate may come from; absent: those of the system. */
  readonly ca?: string;
  /** This node's certificate, with its chain. */
  readonly cert?: string;
  /** The key of {@link cert}; both or none. */
  readonly key?: string;
}

/** Paths, as the flags name them; empty for none. */
export interface TlsPaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** See the module. */
export class TlsFiles {
  readonly #paths: TlsPaths;
  readonly #log: Log;
  #good: EtcdTls;
  /** What was wrong with the files, so that it is logged once. */
  #told = "";

  /** @throws {OpError} naming the file that cannot be used. */
  constructor(paths: TlsPaths, log: Log) {
    this.#paths = paths;
    this.#log = log;
    this.#good = readTls(paths);
  }

  /** The texts as they are now; when a file is bad now, those of before. */
  current(): EtcdTls {
    try {
      const now = readTls(this.#paths);
      if (now.ca !== this.#good.ca || now.cert !== this.#good.cert || now.key !== this.#good.key) {
        this.#good = now;
        this.#log.info("Read etcd's TLS files again");
      }
      this.#told = "";
    } catch (e) {
      const words = messageOf(e);
      if (words !== this.#told) this.#log.warn(`${words}; the one of before stays in use`);
      this.#told = words;
    }
    return this.#good;
  }
}

/**
 * Reads the files and sees to it that they can be used together.
 *
 * @throws {OpError} naming the file that cannot be used.
 */
export function readTls({ ca, cert, key }: TlsPaths): EtcdTls {
  if (cert !== "" && key === "") throw alone("etcd certificate", cert, "--etcd-keyfile");
  if (key !== "" && cert === "") throw alone("etcd key", key, "--etcd-certfile");
  const authorities = ca === "" ? undefined : readCertificates("etcd authority", ca);
  if (cert === "") return { ...(authorities && { ca: authorities.text }) };
  const chain = readCertificates("etcd certificate", cert);
  const secret = readKey(key);
  if (chain.first.checkPrivateKey(secret.key) !== true) {
    throw unusable("etcd key", key, `it does not belong to the certificate ${cert}`);
  }
  return { ...(authorities && { ca: authorities.text }), cert: chain.text, key: secret.text };
}

function readCertificates(what: string, path: string): { text: string; first: X509Certificate } {
  const text = readText(what, path);
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [];
  const certificates = blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw unusable(what, path, `certificate ${i + 1} in it cannot be read`, cause);
    }
  });
  const [first] = certificates;
  if (first === undefined) throw unusable(what, path, "no PEM certificate in it");
  return { text: blocks.join("\n"), first };
}

function readKey(path: string): { text: string; key: KeyObject } {
  const text = readText("etcd key", path);
  if (text.includes("ENCRYPTED")) {
    throw unusable("etcd key", path, "it is encrypted, and nobody is there to ask for the words");
  }
  try {
    return { text, key: createPrivateKey(text) };
  } catch (cause) {
    throw unusable("etcd key", path, "no PEM private key in it", cause);
  }
}

function readText(what: string, path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    // Deno's words end in the call and the path, which we name ourselves.
    const kernel = messageOf(cause).replace(/: [^:]*'.*$/, "");
    throw new OpError(`read ${what}`, path, { code: ErrorCode.badConfig, kernel, cause });
  }
}

function unusable(what: string, path: string, kernel: string, cause?: unknown): OpError {
  return new OpError(`use ${what}`, path, { code: ErrorCode.badConfig, kernel, cause });
}

function alone(what: string, path: string, other: string): OpError {
  return new OpError(`use ${what}`, path, {
    code: ErrorCode.badConfig,
    kernel: "certificate and key go together",
    advice: `Set ${other} too, or neither`,
  });
}
