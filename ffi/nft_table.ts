/**
 * One nf_tables table by netlink: its sets and their elements, which may be so many that nft's parser
 * takes longer than the kernel, and fills the memory; and what is asked about a table so often that
 * nft, which reads all of it before it answers, would be too slow.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Errno, errnoText } from "./errno.ts";
import {
  Batch,
  messageType,
  NETLINK_NETFILTER,
  NftMessage,
  readNftChain,
  Subsystem,
  writeBatch,
  writeNftObject,
} from "./netlink/netfilter.ts";
import { readMarks, writeRulesQuestion } from "./netlink/nft_rules.ts";
import {
  ELEMENT_CHANGE,
  MOST_ELEMENTS,
  MOST_PLAIN_ELEMENTS,
  type NftElement,
  type NftSetHead,
  readKeys,
  readSetHead,
  writeElements,
  writeSetsQuestion,
} from "./netlink/nft_sets.ts";
import { NetlinkSocket, Overrun, type Request } from "./netlink/socket.ts";

/** What is to change in one set or map. */
export interface ElementChange {
  readonly set: string;
  readonly lost: readonly NftElement[];
  readonly fresh: readonly NftElement[];
}

/** A table of the family `inet`, in the network namespace in which this was made. */
export class NftTable implements Disposable {
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER);
  readonly #table: string;

  /** @throws {OpError} when the socket cannot be made. */
  constructor(table: string) {
    this.#table = table;
  }

  /** All sets and maps, also those without a name of ours; none where there is no table. @throws */
  heads(): NftSetHead[] {
    return this.#dump(NftMessage.GETSET, (out) => writeSetsQuestion(out, this.#table))
      .map(readSetHead);
  }

  /** The names of all chains. @throws {OpError} */
  chains(): string[] {
    const bodies = this.#dump(
      NftMessage.GETCHAIN,
      (out) => writeNftObject(out, { family: "inet", table: this.#table, chain: "" }),
    );
    return bodies.flatMap((body) => readNftChain(body, this.#table) ?? []);
  }

  /** The marks that the rules of a chain set in some bits of a connection's mark. @throws {OpError} */
  marks(chain: string): number[] {
    return this.#dump(NftMessage.GETRULE, (out) => writeRulesQuestion(out, this.#table, chain))
      .flatMap(readMarks);
  }

  /** The keys of a set; none where there is no such set. @throws {OpError} */
  *keys(set: string): Generator<Uint8Array> {
    const place = { table: this.#table, set };
    for (const body of this.#dump(NftMessage.GETSETELEM, (out) => writeElements(out, place, []))) {
      yield* readKeys(body);
    }
  }

  /**
   * Deletes elements and adds others, in one transaction. What is there already stays.
   *
   * @throws {OpError} when the kernel refuses; nothing has changed then.
   */
  change(changes: readonly ElementChange[]): void {
    const requests = [
      ...changes.flatMap(({ set, lost }) => this.#requests("delete", set, lost)),
      ...changes.flatMap(({ set, fresh }) => this.#requests("add", set, fresh)),
    ];
    if (requests.length === 0) return;
    const batch = { begin: Batch.BEGIN, end: Batch.END, body: writeBatch };
    const { errno, words } = this.#told(() => this.#socket.transaction(requests, batch));
    if (errno === 0) return;
    throw new OpError("change elements of", `table ${this.#table}`, {
      code: ErrorCode.kernel,
      errno,
      kernel: words ?? errnoText(errno),
    });
  }

  #requests(deed: "add" | "delete", set: string, elements: readonly NftElement[]): Request[] {
    const out: Request[] = [];
    const place = { table: this.#table, set };
    const most = elements.some(({ goto }) => goto !== undefined)
      ? MOST_ELEMENTS
      : MOST_PLAIN_ELEMENTS;
    for (let at = 0; at < elements.length; at += most) {
      const part = elements.slice(at, at + most);
      out.push({
        type: ELEMENT_CHANGE[deed],
        flags: 0,
        body: (writer) => writeElements(writer, place, part),
      });
    }
    return out;
  }

  #dump(message: number, body: Request["body"]): readonly Uint8Array[] {
    const type = messageType(Subsystem.NFTABLES, message);
    const { bodies, errno, words } = this.#told(() => this.#socket.dump({ type, body }));
    if (errno === 0 || errno === Errno.ENOENT) return bodies;
    throw new OpError("read", `table ${this.#table}`, {
      code: ErrorCode.kernel,
      errno,
      kernel: words ?? errnoText(errno),
    });
  }

  /** An overrun is no event here: what was asked has no answer. @throws {OpError} */
  #told<T>(work: () => T): T {
    try {
      return work();
    } catch (e) {
      if (!(e instanceof Overrun)) throw e;
      const [code, kernel] = [ErrorCode.kernel, e.message];
      throw new OpError("ask about", `table ${this.#table}`, { code, kernel, cause: e });
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
