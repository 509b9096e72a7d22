/**
 * The datagram by which a node asks whether UDP to the VXLAN port arrives at another: a VXLAN header
 * with a network that nobody has, and behind it a word that nobody else knows. The kernel of the
 * other node drops it; its daemon sees it come in, and confirms the word. Pure.
 *
 * @module
 */

/** A network that no overlay uses: flannel's are small numbers. */
export const PROBE_VNI = 0xfffffe;

/** Bytes of a VXLAN header (RFC 7348). */
const VXLAN_HEADER = 8;
/** The flag that says that the header has a network. */
const HAS_VNI = 0x08;

/** A nonce as text: 32 hexadecimal digits. */
export type Nonce = string & { readonly __nonce: unique symbol };

/** Reads a nonce. @throws {SyntaxError} */
export function parseNonce(text: string): Nonce {
  if (!/^[0-9a-f]{32}$/.test(text)) {
    throw new SyntaxError(`want 32 hexadecimal digits, got ${JSON.stringify(text.slice(0, 64))}`);
  }
  return text as Nonce;
}

/** A nonce of 16 random bytes. */
export function nonceOf(random: Uint8Array): Nonce {
  return parseNonce(
    Array.from(random.subarray(0, 16), (b) => b.toString(16).padStart(2, "0")).join(""),
  );
}

/** What is sent to the VXLAN port. */
export function probePayload(nonce: Nonce): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(VXLAN_HEADER + 16);
  bytes[0] = HAS_VNI;
  new DataView(bytes.buffer).setUint32(4, PROBE_VNI << 8 >>> 0);
  for (let i = 0; i < 16; i++) {
    bytes[VXLAN_HEADER + i] = parseInt(nonce.slice(2 * i, 2 * i + 2), 16);
  }
  return bytes;
}

/**
 * The nonce in a received IP packet; undefined when it is any other packet.
 *
 * @param bytes from the IP header on.
 * @param port the VXLAN port of the overlay.
 */
export function readProbe(bytes: Uint8Array, port: number): Nonce | undefined {
  const udp = udpOf(bytes);
  if (udp === undefined || udp.length < 8 + VXLAN_HEADER + 16) return undefined;
  const view = new DataView(udp.buffer, udp.byteOffset, udp.byteLength);
  if (view.getUint16(2) !== port || udp[8] !== HAS_VNI) return undefined;
  if (view.getUint32(12) >>> 8 !== PROBE_VNI) return undefined;
  return nonceOf(udp.subarray(8 + VXLAN_HEADER));
}

const UDP = 17;

/** The UDP header and what follows; undefined for other protocols, fragments and extensions. */
function udpOf(bytes: Uint8Array): Uint8Array | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4) {
    const fragment = (((bytes[6] ?? 0) & 0x3f) << 8) | (bytes[7] ?? 0);
    if (bytes[9] !== UDP || fragment !== 0) return undefined;
    return bytes.subarray(((bytes[0] ?? 0) & 0xf) * 4);
  }
  return version === 6 && bytes[6] === UDP ? bytes.subarray(40) : undefined;
}
