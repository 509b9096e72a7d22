/**
 * The two ways to make packet rules, as configurations name them. Apart from what works with them,
 * since most requests only read the name.
 *
 * @module
 */

/** What makes the rules. */
export const BACKENDS = ["iptables", "nftables"] as const;
/** One of {@link BACKENDS}. */
export type Backend = (typeof BACKENDS)[number];

/** Reads the name of a back end; empty: none was chosen. @throws {SyntaxError} `words`, and it */
export function parseBackend(text: string | undefined, words: string): Backend | undefined {
  if (text === undefined || text === "") return undefined;
  const backend = BACKENDS.find((one) => one === text);
  if (backend !== undefined) return backend;
  throw new SyntaxError(`${words} ${JSON.stringify(text)}: want ${BACKENDS.join(" or ")}`);
}
