/**
 * Other nodes that have this node's address. Nothing here is decided because of them: they are
 * found and named, so that somebody gives each node an address of its own.
 *
 * @module
 */

import type { Marks } from "./etcd_marks.ts";
import type { RecordClaim } from "./etcd_view.ts";

/** See the module. */
export class Rivals {
  readonly #marks: Marks;
  readonly #tell: (words?: string) => void;
  #seen: readonly RecordClaim[] = [];
  #unjudged = false;
  /** What is known of each lease that has our address. */
  #others: readonly string[] = [];
  #taken: string | undefined;

  /** @param tell called with all that is wrong, and with nothing when all is well. */
  constructor(marks: Marks, tell: (words?: string) => void) {
    this.#marks = marks;
    this.#tell = tell;
  }

  /**
   * Takes note of the leases beside our own that have our address.
   *
   * @returns true when they are not those of before: call {@link Rivals.judge}.
   */
  see(claims: readonly RecordClaim[]): boolean {
    const known = ({ record }: RecordClaim): string => `${record.key} ${record.lease}`;
    if (claims.map(known).join() === this.#seen.map(known).join()) return false;
    this.#seen = claims;
    this.#unjudged = true;
    return true;
  }

  /** Finds out whose leases they are, unless that is known. @throws {OpError} */
  async judge(signal: AbortSignal): Promise<void> {
    if (!this.#unjudged) return;
    const seen = this.#seen;
    const words: string[] = [];
    for (const claim of seen) {
      const { mark, holder } = await this.#marks.judgeOne(claim, signal);
      // Without a mark it is a lease of ours that nobody renews: flannel would share the one we have.
      if (holder === "another") words.push(this.#sentence(claim, mark?.node.name ?? ""));
    }
    if (seen === this.#seen) this.#unjudged = false;
    this.#others = words;
    this.#say();
  }

  #sentence({ publicIp, record }: RecordClaim, name: string): string {
    return `public IP ${publicIp} is also that of node ${
      JSON.stringify(name)
    }: packets for one of ` +
      `the two get lost; give each its own with --public-ip, or delete ${record.key} if that node ` +
      "is no more";
  }

  /** Another node has written our key over with its own data; undefined: it is ours again. */
  taken(claim?: RecordClaim): void {
    const before = this.#taken;
    this.#taken = claim === undefined
      ? undefined
      : `another node with public IP ${claim.publicIp} has taken our lease ${claim.record.key}: ` +
        "packets for one of the two get lost; give each its own with --public-ip";
    if (this.#taken !== before) this.#say();
  }

  #say(): void {
    const all = [...this.#taken === undefined ? [] : [this.#taken], ...this.#others];
    this.#tell(all.length === 0 ? undefined : all.join("; "));
  }
}
