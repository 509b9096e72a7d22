/**
 * A network namespace that is held open: its socket, the indexes of its links, and requests that
 * travel together.
 *
 * @module
 */

import { Fd, NetnsGuard, OWN_NETNS } from "./netns.ts";
import { NetlinkSocket, type Reply, type Request } from "./netlink/socket.ts";
import { WireguardSocket } from "./wireguard.ts";
import { LinkTable } from "./link_table.ts";

/** A namespace that we hold open: its socket and links, and how to enter it for files and rules. */
export class Namespace extends LinkTable implements Disposable {
  readonly #fd: Fd;
  readonly #own: boolean;
  #wireguard: WireguardSocket | undefined;

  /** @param path Absent: the calling thread's own. */
  constructor(path: string | undefined) {
    using undo = new DisposableStack();
    const fd = undo.use(new Fd(path ?? OWN_NETNS));
    const own = path === undefined;
    super(own ? new NetlinkSocket() : inside(fd, () => new NetlinkSocket()));
    this.#fd = fd;
    this.#own = own;
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
    return this.#own ? work() : inside(this.#fd, work);
  }

  [Symbol.dispose](): void {
    this.#wireguard?.[Symbol.dispose]();
    this.socket[Symbol.dispose]();
    this.#fd[Symbol.dispose]();
  }
}

function inside<T>(fd: Fd, work: () => T): T {
  using _guard = new NetnsGuard(fd);
  return work();
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
