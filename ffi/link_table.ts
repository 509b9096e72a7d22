/**
 * The links of one network namespace, remembered by name: most changes name a link by its index.
 *
 * @module
 */

import type { NetlinkSocket } from "./netlink/socket.ts";
import { answeredLink, type Link, linkQuestion } from "./reader.ts";

/** The links of a socket's network namespace, by their names. */
export class LinkTable {
  readonly #links = new Map<string, Link>();

  /** @param socket rtnetlink. */
  constructor(readonly socket: NetlinkSocket) {}

  /** Those of the links that there are, as they are now. */
  named(names: readonly string[]): Link[] {
    return this.socket.request(names.map(linkQuestion)).flatMap((answer) => {
      const link = answeredLink(answer);
      this.learn(link);
      return link === undefined ? [] : [link];
    });
  }

  /** The index of a link; asked once, forgotten when the link is made or deleted. */
  index(name: string): number | undefined {
    return (this.#links.get(name) ?? this.named([name])[0])?.index;
  }

  /** Takes notice of a link that was read in another way. */
  learn(link: Link | undefined): void {
    if (link !== undefined) this.#links.set(link.name, link);
  }

  /** A link as it was when it was made or read last. */
  known(name: string): Link | undefined {
    return this.#links.get(name);
  }

  /** Forgets one index, or all. */
  forget(name?: string): void {
    if (name === undefined) this.#links.clear();
    else this.#links.delete(name);
  }
}
