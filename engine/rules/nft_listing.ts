/**
 * What `nft -a list table` prints, as far as we must read it: which chains there are, and which
 * rules carry a comment of ours, so that these very rules can be deleted by their handles.
 *
 * @module
 */

/** One rule of a listing. */
export interface ListedRule {
  /** The number by which the kernel knows the rule within its table. */
  readonly handle: number;
  /** The rule as nft words it, without its handle. */
  readonly text: string;
  /** Empty when there is none. */
  readonly comment: string;
}

/** The rules of each chain of one table; empty when there is no such table. */
export type Listing = ReadonlyMap<string, readonly ListedRule[]>;

const CHAIN = /^\tchain (\S+) \{/;
const RULE = /^\t\t(.*) # handle (\d+)$/;
const COMMENT = /comment "([^"]*)"$/;

/** The longest comment that nft takes, bytes (`NFTNL_UDATA_COMMENT_MAXLEN`). */
export const LONGEST_NFT_COMMENT = 128;

/** Reads the listing of one table, with handles. */
export function parseListing(text: string): Listing {
  const chains = new Map<string, ListedRule[]>();
  let rules: ListedRule[] | undefined;
  for (const line of text.split("\n")) {
    const chain = CHAIN.exec(line)?.[1];
    if (chain !== undefined) chains.set(chain, rules = []);
    else if (line === "\t}") rules = undefined;
    const [, rule, handle] = RULE.exec(line) ?? [];
    if (rules === undefined || rule === undefined) continue;
    rules.push({ handle: Number(handle), text: rule, comment: COMMENT.exec(rule)?.[1] ?? "" });
  }
  return chains;
}

/** The commands that delete the rules of a chain whose comment goes; a missing chain has none. */
export function deletions(
  table: string,
  listing: Listing,
  chain: string,
  goes: (comment: string) => boolean,
): string[] {
  return (listing.get(chain) ?? []).filter((rule) => goes(rule.comment))
    .map(({ handle }) => `delete rule ${table} ${chain} handle ${handle}`);
}

/** Commands as one batch; nothing stays nothing. */
export function batch(commands: readonly string[]): string {
  return commands.map((command) => `${command}\n`).join("");
}
