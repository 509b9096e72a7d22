/**
 * The secrets of a backend that encrypts: this node's private key, and the pre-shared key of the
 * network. Both lie in files that only root reads, and nowhere else.
 *
 * The key outlives reboots, so that peers know this node again. flannel keeps its own in `/run`;
 * it is taken over once. The pre-shared key is kept because the remembered configuration is
 * without it, and a start without the store needs it.
 *
 * @module
 */

import { wireguardOptions } from "../engine/backend/wireguard.ts";
import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { Fields, type Json, JsonObject } from "../engine/json.ts";
import { HIDDEN_PSK, type NetConf } from "../engine/net_conf.ts";
import { Secret } from "../engine/secret.ts";
import {
  encodeKey,
  KEY_BYTES,
  type KeyPair,
  parseSecretKey,
  publicKeyOf,
} from "../engine/wireguard_key.ts";
import type { Log } from "./log.ts";
import { replaceFile } from "./replace_file.ts";

/** Where the secrets lie. */
export interface SecretFiles {
  /** The private key, base64. */
  readonly key: string;
  /** Taken over when there is no other: flannel's. */
  readonly oldKey?: string;
  readonly psk: string;
}

/** flannel's place. */
export const FLANNEL_KEY = "/run/flannel/wgkey";

/**
 * This node's pair of keys: the one of before, flannel's, or a new one.
 *
 * @throws {OpError} when the file is damaged or cannot be written; the key is never quoted.
 */
export async function openKeys(files: SecretFiles, log: Log): Promise<KeyPair> {
  const kept = readKey(files.key);
  if (kept !== undefined) return await pairOf(kept);
  const old = files.oldKey === undefined ? undefined : readKey(files.oldKey);
  const key = old ?? new Secret(crypto.getRandomValues(new Uint8Array(KEY_BYTES)));
  const pair = await pairOf(key);
  replaceFile(files.key, `${encodeKey(key.reveal())}\n`);
  log.info(old === undefined ? "Made a WireGuard key" : "Took over flannel's WireGuard key", {
    file: files.key,
    public: pair.publicKey,
  });
  return pair;
}

/** What PKCS #8 puts in front of a private key of X25519 (RFC 8410). */
const PKCS8 = Uint8Array.fromHex("302e020100300506032b656e04220420");

async function pairOf(privateKey: Secret): Promise<KeyPair> {
  const bytes = new Uint8Array([...PKCS8, ...privateKey.reveal()]);
  const key = await crypto.subtle.importKey("pkcs8", bytes, "X25519", true, ["deriveBits"]);
  const { x } = await crypto.subtle.exportKey("jwk", key);
  const publicKey = publicKeyOf(Uint8Array.fromBase64(x ?? "", { alphabet: "base64url" }));
  return { publicKey, privateKey };
}

/**
 * The configuration with its pre-shared key, which is remembered for a start without the store.
 *
 * @throws {OpError} when it is hidden and nowhere to be found.
 * @throws {SyntaxError} when the section has a bad value.
 */
export function withPsk(conf: NetConf, { psk: file }: SecretFiles): NetConf {
  const { raw, type } = conf.backend;
  if (type !== "wireguard") return conf;
  wireguardOptions(conf);
  const psk = new Fields(raw, "Backend").string("PSK") ?? "";
  if (psk === HIDDEN_PSK) {
    const known = readKey(file);
    if (known === undefined) {
      throw new OpError("read", file, {
        code: ErrorCode.io,
        kernel: "the pre-shared key of the remembered configuration is not there",
        advice: "twill starts when the store answers",
      });
    }
    const text = encodeKey(known.reveal());
    const members = raw.members.map(([name, value]): [string, Json] => [
      name,
      value === HIDDEN_PSK ? text : value,
    ]);
    return { ...conf, backend: { ...conf.backend, raw: new JsonObject(members) } };
  }
  if (psk !== "" && readKey(file)?.equals(parseSecretKey(psk)) !== true) {
    replaceFile(file, `${psk}\n`);
  }
  return conf;
}

function readKey(file: string): Secret | undefined {
  try {
    return parseSecretKey(Deno.readTextFileSync(file).trim());
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new OpError("use", file, {
      code: ErrorCode.io,
      kernel: messageOf(cause),
      advice:
        "Put the key back (wg genkey makes one), or delete the file: this node gets a new key",
      cause,
    });
  }
}
