/**
 * Who sees the status page on the health port, as `--status-page` says.
 *
 * @module
 */

/** What the flag may say. */
export const PAGE_FOR = ["loopback", "all", "off"] as const;
/** One of {@link PAGE_FOR}. */
export type PageFor = typeof PAGE_FOR[number];
