/**
 * How `rules` reads what programs have put into the kernel.
 *
 * @module
 */

/** All rules of this network namespace. */
export interface RuleTexts {
  /** `nft -s list ruleset`. */
  readonly nft: string;
  /** `iptables-legacy-save`, of each family that has legacy tables. */
  readonly legacy: Readonly<Partial<Record<"ip" | "ip6", string>>>;
}

/** Reads them. @throws {OpError} */
export interface RuleTools {
  readonly read: () => RuleTexts;
}
