/**
 * A network namespace that is held open: its socket, the indexes of its links, and requests that
 * travel together.
 *
 * @module
 */

import { Fd, NetnsGuard, OWN_NETNS } from "./netns.ts";
import { NetlinkSocket, type Reply, type Request } from "./netlink/socket.ts";
import { WireguardSocket } from "./wireguard.ts";
import { answeredLink, type Link, linkQuestion } from "./reader.ts";

/** A namespace that we hold open: its socket, and how to enter it for files and rules. */
export class Namespace implements Disposable {
  /** rtnetlink of this namespace. */
  readonly socket: NetlinkSocket;
  readonly #fd: Fd;
  readonly #own: boolean;
  readonly #links = new Map<string, Link>();
  #wireguard: WireguardSocket | undefined;

  /** @param path Absent: the calling thread's own. */
  constructor(path: string | undefined) {
    this.#own = path === undefined;
    using undo = new DisposableStack();
    this.#fd = undo.use(new Fd(path ?? OWN_NETNS));
    this.socket = this.enter(() => new NetlinkSocket());
    undo.move();
  }

  /** The namespace's descriptor, for links that are made in it from another one. */
  get fd(): number {
    return this.#fd.number;
  }

  /** The family of WireGuard links; made on first use. */
  get wireguard(): WireguardSocket {
    return this.#wireguard ??= this.enter(() => new WireguardSocket());
  }

  /** Runs a synchronous function inside. */
  enter<T>(work: () => T): T {
    if (this.#own) return work();
    using _guard = new NetnsGuard(this.#fd);
    return work();
  }

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

  [Symbol.dispose](): void {
    this.#wireguard?.[Symbol.dispose]();
    this.socket[Symbol.dispose]();
    this.#fd[Symbol.dispose]();
  }
}

/** Requests that wait to be sent together, in their order. */
export class Batch {
  readonly #socket: NetlinkSocket;
  #posts: { readonly requests: readonly Request[]; readonly done: Done }[] = [];

  constructor({ socket }: Namespace) {
    this.#socket = socket;
  }

  /** Sends the requests with the next {@link Batch.flush}; `done` gets their answers. */
  post(requests: readonly Request[], done: Done): void {
    this.#posts.push({ requests, done });
  }

  /** Sends what was posted. @throws as `NetlinkSocket.request` */
  flush(): void {
    if (this.#posts.length === 0) return;
    const posts = this.#posts;
    this.#posts = [];
    const replies = this.#socket.request(posts.flatMap(({ requests }) => requests));
    let at = 0;
    for (const { requests, done } of posts) done(replies.slice(at, at += requests.length));
  }
}

type Done = (replies: readonly Reply[]) => void;
