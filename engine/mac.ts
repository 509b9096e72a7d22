/**
 * MAC addresses as branded text in one canonical form.
 *
 * @module
 */

/** A 48-bit MAC address, canonical: six lower-case hexadecimal pairs joined by colons. */
export type Mac = string & { readonly __mac: unique symbol };

const MAC = /^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i;

/**
 * Reads a MAC address with colons or dashes, in any case.
 *
 * @throws {SyntaxError} when the text is anything else.
 */
export function parseMac(text: string): Mac {
  if (!MAC.test(text)) throw new SyntaxError(`invalid MAC address ${JSON.stringify(text)}`);
  return text.toLowerCase().replaceAll("-", ":") as Mac;
}

/** The six bytes of a MAC address, in transmission order. */
export function macBytes(mac: Mac): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(mac.split(":"), (pair) => parseInt(pair, 16));
}

/**
 * The MAC address made of six bytes.
 *
 * @throws {RangeError} when there are not exactly six.
 */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`a MAC address has 6 bytes, not ${bytes.length}`);
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(":") as Mac;
}

/** Makes any six bytes a unicast, locally administered address (IEEE 802, the two low bits). */
export function localMac(bytes: Uint8Array): Mac {
  const local = Uint8Array.from(bytes);
  local[0] = ((local[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(local);
}
