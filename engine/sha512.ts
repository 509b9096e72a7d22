/**
 * SHA-512 (FIPS 180-4), synchronous, for the names that the CNI reference plugins derive from a hash:
 * chains, IFB devices, comments. The platform's own hash can only be awaited, and names are needed
 * where nothing may be awaited, inside a network namespace too.
 *
 * Not for secrets: the time it takes tells how long the input is.
 *
 * A 64-bit word is two 32-bit halves, high then low. (With `bigint` it takes twice as long,
 * which a plugin that starts for one pod would feel.)
 *
 * @module
 */

/** Bytes of one block. */
const BLOCK = 128;
/** Bytes at the end of the last block that hold the input's length in bits. */
const LENGTH = 16;
/** Rounds for each block. */
const COUNT = 80;

/** Fractions of the square roots of the first 8 primes. */
// deno-fmt-ignore
const START = [
  0x6a09e667, 0xf3bcc908, 0xbb67ae85, 0x84caa73b, 0x3c6ef372, 0xfe94f82b, 0xa54ff53a, 0x5f1d36f1,
  0x510e527f, 0xade682d1, 0x9b05688c, 0x2b3e6c1f, 0x1f83d9ab, 0xfb41bd6b, 0x5be0cd19, 0x137e2179,
] as const;

/** Fractions of the cube roots of the first 80 primes, one for each round. */
// deno-fmt-ignore
const ROUNDS: readonly number[] = [
  0x428a2f98, 0xd728ae22, 0x71374491, 0x23ef65cd, 0xb5c0fbcf, 0xec4d3b2f, 0xe9b5dba5, 0x8189dbbc,
  0x3956c25b, 0xf348b538, 0x59f111f1, 0xb605d019, 0x923f82a4, 0xaf194f9b, 0xab1c5ed5, 0xda6d8118,
  0xd807aa98, 0xa3030242, 0x12835b01, 0x45706fbe, 0x243185be, 0x4ee4b28c, 0x550c7dc3, 0xd5ffb4e2,
  0x72be5d74, 0xf27b896f, 0x80deb1fe, 0x3b1696b1, 0x9bdc06a7, 0x25c71235, 0xc19bf174, 0xcf692694,
  0xe49b69c1, 0x9ef14ad2, 0xefbe4786, 0x384f25e3, 0x0fc19dc6, 0x8b8cd5b5, 0x240ca1cc, 0x77ac9c65,
  0x2de92c6f, 0x592b0275, 0x4a7484aa, 0x6ea6e483, 0x5cb0a9dc, 0xbd41fbd4, 0x76f988da, 0x831153b5,
  0x983e5152, 0xee66dfab, 0xa831c66d, 0x2db43210, 0xb00327c8, 0x98fb213f, 0xbf597fc7, 0xbeef0ee4,
  0xc6e00bf3, 0x3da88fc2, 0xd5a79147, 0x930aa725, 0x06ca6351, 0xe003826f, 0x14292967, 0x0a0e6e70,
  0x27b70a85, 0x46d22ffc, 0x2e1b2138, 0x5c26c926, 0x4d2c6dfc, 0x5ac42aed, 0x53380d13, 0x9d95b3df,
  0x650a7354, 0x8baf63de, 0x766a0abb, 0x3c77b2a8, 0x81c2c92e, 0x47edaee6, 0x92722c85, 0x1482353b,
  0xa2bfe8a1, 0x4cf10364, 0xa81a664b, 0xbc423001, 0xc24b8b70, 0xd0f89791, 0xc76c51a3, 0x0654be30,
  0xd192e819, 0xd6ef5218, 0xd6990624, 0x5565a910, 0xf40e3585, 0x5771202a, 0x106aa070, 0x32bbd1b8,
  0x19a4c116, 0xb8d2d0c8, 0x1e376c08, 0x5141ab53, 0x2748774c, 0xdf8eeb99, 0x34b0bcb5, 0xe19b48a8,
  0x391c0cb3, 0xc5c95a63, 0x4ed8aa4a, 0xe3418acb, 0x5b9cca4f, 0x7763e373, 0x682e6ff3, 0xd6b2b8a3,
  0x748f82ee, 0x5defb2fc, 0x78a5636f, 0x43172f60, 0x84c87814, 0xa1f0ab72, 0x8cc70208, 0x1a6439ec,
  0x90befffa, 0x23631e28, 0xa4506ceb, 0xde82bde9, 0xbef9a3f7, 0xb2c67915, 0xc67178f2, 0xe372532b,
  0xca273ece, 0xea26619c, 0xd186b8c7, 0x21c0c207, 0xeada7dd6, 0xcde0eb1e, 0xf57d4f7f, 0xee6ed178,
  0x06f067aa, 0x72176fba, 0x0a637dc5, 0xa2c898a6, 0x113f9804, 0xbef90dae, 0x1b710b35, 0x131c471b,
  0x28db77f5, 0x23047d84, 0x32caab7b, 0x40c72493, 0x3c9ebe0a, 0x15c9bebc, 0x431d67c4, 0x9c100d4c,
  0x4cc5d4be, 0xcb3e42b6, 0x597f299c, 0xfc657e2a, 0x5fcb6fab, 0x3ad6faec, 0x6c44198c, 0x4a475817,
];

/**
 * The digest of a text's UTF-8 bytes, or of bytes, as 128 lower-case hexadecimal digits.
 *
 * ```ts
 * import { sha512 } from "./sha512.ts";
 *
 * const chain = `CNI-${sha512("dbnet" + "abc123").slice(0, 24)}`;
 * if (chain !== "CNI-2c9d881d1924f1d6a7733ee3") throw new Error(chain);
 * ```
 */
export function sha512(input: string | Uint8Array): string {
  const view = padded(typeof input === "string" ? new TextEncoder().encode(input) : input);
  const state = Int32Array.from(START);
  const words = new Int32Array(2 * COUNT);
  for (let at = 0; at < view.byteLength; at += BLOCK) {
    expand(view, at, words);
    compress(state, words);
  }
  return Array.from(state, (half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}

/** The input, a one bit, zeros, and its length in bits, to whole blocks. */
function padded(input: Uint8Array): DataView {
  const size = Math.ceil((input.length + 1 + LENGTH) / BLOCK) * BLOCK;
  const bytes = new Uint8Array(size);
  bytes.set(input);
  bytes[input.length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setBigUint64(size - 8, BigInt(input.length) * 8n);
  return view;
}

/** What a sum of low halves carries into the high ones. */
function carry(sum: number): number {
  return Math.floor(sum / 0x1_0000_0000);
}

/** Fills `w` with the 80 words of a block: its own 16, and what they are stretched to. */
function expand(view: DataView, at: number, w: Int32Array): void {
  for (let i = 0; i < 32; i++) w[i] = view.getInt32(at + 4 * i);
  for (let i = 32; i < 2 * COUNT; i += 2) {
    const ah = w[i - 30] as number;
    const al = w[i - 29] as number;
    const bh = w[i - 4] as number;
    const bl = w[i - 3] as number;
    // Rotated by 1, rotated by 8, shifted by 7.
    const nearHigh = (ah >>> 1 | al << 31) ^ (ah >>> 8 | al << 24) ^ ah >>> 7;
    const nearLow = (al >>> 1 | ah << 31) ^ (al >>> 8 | ah << 24) ^ (al >>> 7 | ah << 25);
    // Rotated by 19, rotated by 61, shifted by 6.
    const farHigh = (bh >>> 19 | bl << 13) ^ (bl >>> 29 | bh << 3) ^ bh >>> 6;
    const farLow = (bl >>> 19 | bh << 13) ^ (bh >>> 29 | bl << 3) ^ (bl >>> 6 | bh << 26);
    const low = ((w[i - 31] as number) >>> 0) + (nearLow >>> 0) + ((w[i - 13] as number) >>> 0) +
      (farLow >>> 0);
    w[i] = (w[i - 32] as number) + nearHigh + (w[i - 14] as number) + farHigh + carry(low);
    w[i + 1] = low;
  }
}

/** Mixes the words of a block into the state. */
function compress(state: Int32Array, w: Int32Array): void {
  const s = state.slice();
  // The eight words move up by one place each round; `o` is where the first of them lies.
  const half = (i: number): number => s[i & 15] as number;
  for (let round = 0, o = 0; round < 2 * COUNT; round += 2, o -= 2) {
    const ah = half(o);
    const al = half(o + 1);
    const bh = half(o + 2);
    const bl = half(o + 3);
    const ch = half(o + 4);
    const cl = half(o + 5);
    const eh = half(o + 8);
    const el = half(o + 9);
    const fh = half(o + 10);
    const fl = half(o + 11);
    const gh = half(o + 12);
    const gl = half(o + 13);
    // Rotated by 14, 18, 41.
    const eHigh = (eh >>> 14 | el << 18) ^ (eh >>> 18 | el << 14) ^ (el >>> 9 | eh << 23);
    const eLow = (el >>> 14 | eh << 18) ^ (el >>> 18 | eh << 14) ^ (eh >>> 9 | el << 23);
    const low1 = (half(o + 15) >>> 0) + (eLow >>> 0) + ((el & fl ^ ~el & gl) >>> 0) +
      (ROUNDS[round + 1] as number) + ((w[round + 1] as number) >>> 0);
    const high1 = half(o + 14) + eHigh + (eh & fh ^ ~eh & gh) + (ROUNDS[round] as number) +
        (w[round] as number) + carry(low1) | 0;
    // Rotated by 28, 34, 39.
    const aHigh = (ah >>> 28 | al << 4) ^ (al >>> 2 | ah << 30) ^ (al >>> 7 | ah << 25);
    const aLow = (al >>> 28 | ah << 4) ^ (ah >>> 2 | al << 30) ^ (ah >>> 7 | al << 25);
    const low2 = (low1 >>> 0) + (aLow >>> 0) + ((al & bl ^ al & cl ^ bl & cl) >>> 0);
    const high2 = high1 + aHigh + (ah & bh ^ ah & ch ^ bh & ch) + carry(low2) | 0;
    const low3 = (half(o + 7) >>> 0) + (low1 >>> 0);
    s[o + 6 & 15] = half(o + 6) + high1 + carry(low3);
    s[o + 7 & 15] = low3;
    s[o + 14 & 15] = high2;
    s[o + 15 & 15] = low2;
  }
  for (let i = 0; i < 16; i += 2) {
    const low = ((state[i + 1] as number) >>> 0) + ((s[i + 1] as number) >>> 0);
    state[i] = (state[i] as number) + (s[i] as number) + carry(low);
    state[i + 1] = low;
  }
}
