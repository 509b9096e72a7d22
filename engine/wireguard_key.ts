/**
 * WireGuard's keys as text: 32 bytes in base64, as `wg` writes them. Public keys are names of peers;
 * private and pre-shared ones are secrets from the moment they are read.
 *
 * @module
 */

import { Secret } from "./secret.ts";

/** A public key, base64. */
export type PublicKey = string & { readonly __publicKey: unique symbol };

/** This node's pair. */
export interface KeyPair {
  readonly publicKey: PublicKey;
  readonly privateKey: Secret;
}

/** Bytes of a key of any kind. */
export const KEY_BYTES = 32;

/** What the kernel calls "no pre-shared key". */
export const NO_PSK: Secret = new Secret(new Uint8Array(KEY_BYTES));

/** Reads a public key. @throws {SyntaxError} */
export function parsePublicKey(text: string): PublicKey {
  return publicKeyOf(decode(text, () => `, got ${JSON.stringify(text)}`));
}

/** A public key from its bytes. @throws {SyntaxError} when it can be nobody's */
export function publicKeyOf(bytes: Uint8Array): PublicKey {
  if (bytes.every((byte) => byte === 0)) throw new SyntaxError("a key of zeros is nobody's");
  return encodeKey(bytes) as PublicKey;
}

/** The bytes of a public key. */
export function publicKeyBytes(key: PublicKey): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(key), (char) => char.charCodeAt(0));
}

/** Reads a private or pre-shared key. @throws {SyntaxError} which does not quote it */
export function parseSecretKey(text: string): Secret {
  return new Secret(decode(text, () => ""));
}

/** A key's bytes as text. */
export function encodeKey(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function decode(text: string, got: () => string): Uint8Array {
  // 32 bytes are 43 digits, the last of which has two bits to spare, and one sign of padding.
  if (!/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text)) {
    throw new SyntaxError(`want a key of 32 bytes in base64, as wg genkey makes them${got()}`);
  }
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
