/**
 * Netlink messages: `struct nlmsghdr`, acknowledgements and the walk over a received buffer
 * (linux/netlink.h). Pure.
 *
 * @module
 */

import {
  attributes,
  malformed,
  readStruct,
  type Struct,
  text,
  u16,
  u32,
  type Writer,
} from "./codec.ts";

/** `struct nlmsghdr`. */
export const NLMSGHDR = {
  size: 16,
  members: {
    length: { at: 0, as: u32 },
    type: { at: 4, as: u16 },
    flags: { at: 6, as: u16 },
    sequence: { at: 8, as: u32 },
    port: { at: 12, as: u32 },
  },
} as const satisfies Struct;

/** `NLM_F_*`: the two groups share bits, the meaning depends on the request. */
export const Flag = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  ECHO: 0x8,
  DUMP_INTR: 0x10,
  /** GET: `NLM_F_ROOT | NLM_F_MATCH`. */
  DUMP: 0x300,
  /** NEW: replace what has the same key. */
  REPLACE: 0x100,
  /** NEW: fail when it exists. */
  EXCL: 0x200,
  /** NEW: create when it does not exist. */
  CREATE: 0x400,
  /** NEW: add to the end of a list. */
  APPEND: 0x800,
  /** Acknowledgement: the request was not echoed. */
  CAPPED: 0x100,
  /** Acknowledgement: extended attributes follow. */
  ACK_TLVS: 0x200,
} as const;

/** Message types below 16 are netlink's own. */
export const Control = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

/** One received message; `body` is what follows the header, without a copy. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly port: number;
  readonly body: Uint8Array;
}

/** Appends a message: header, then what `body` writes, padded. */
export function writeMessage(
  out: Writer,
  header: { readonly type: number; readonly flags: number; readonly sequence: number },
  body: () => void,
): void {
  const at = out.reserve(NLMSGHDR.size);
  body();
  const { view } = out;
  view.setUint32(at, out.length - at, true);
  view.setUint16(at + 4, header.type, true);
  view.setUint16(at + 6, header.flags, true);
  view.setUint32(at + 8, header.sequence, true);
  out.align();
}

/** Walks the messages of one buffer. @throws {OpError} when a length runs past the end */
export function* messages(bytes: Uint8Array): Generator<Message> {
  for (let at = 0; at + NLMSGHDR.size <= bytes.length;) {
    const { length, type, flags, sequence, port } = readStruct(NLMSGHDR, bytes.subarray(at));
    if (length < NLMSGHDR.size || at + length > bytes.length) {
      throw malformed(`message of ${length} bytes where ${bytes.length - at} are left`);
    }
    yield { type, flags, sequence, port, body: bytes.subarray(at + NLMSGHDR.size, at + length) };
    at += (length + 3) & ~3;
  }
}

/** What `NLMSG_ERROR` (and `NLMSG_DONE`, for dumps) says of a request. */
export interface Answer {
  /** 0 for success, else a positive error number. */
  readonly errno: number;
  /** The kernel's own explanation, from the extended acknowledgement. */
  readonly words?: string;
}

/** `NLMSGERR_ATTR_MSG`, linux/netlink.h. */
const EXTENDED_MESSAGE = 1;

/** Reads an acknowledgement, with the kernel's words when it sent any. @throws {OpError} */
export function readAnswer(message: Message): Answer {
  const { body, flags } = message;
  if (body.length < 4) throw malformed("acknowledgement without error number");
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const errno = Math.abs(view.getInt32(0, true));
  if ((flags & Flag.ACK_TLVS) === 0) return { errno };
  let at = 4;
  if (message.type === Control.ERROR) {
    if (body.length < 4 + NLMSGHDR.size) throw malformed("acknowledgement without its request");
    const echoed = (flags & Flag.CAPPED) !== 0 ? NLMSGHDR.size : view.getUint32(4, true);
    at += (echoed + 3) & ~3;
    if (echoed < NLMSGHDR.size || at > body.length) throw malformed("acknowledgement cut short");
  }
  for (const [type, payload] of attributes(body.subarray(at))) {
    if (type === EXTENDED_MESSAGE) return { errno, words: text.read(payload) };
  }
  return { errno };
}

/** What a question brought: the bodies of the answering messages, and how it ended. */
export interface Reply extends Answer {
  readonly bodies: readonly Uint8Array[];
  /** The list changed while it was read: it may lack what was there all the time. */
  readonly interrupted: boolean;
}

/**
 * Reads until the question of that sequence number is answered. What belongs to other questions,
 * or to none, is skipped.
 *
 * @param receive gives the messages of the next datagram.
 */
export function collect(receive: () => readonly Message[], sequence: number): Reply {
  const bodies: Uint8Array[] = [];
  let interrupted = false;
  for (;;) {
    for (const message of receive()) {
      if (message.sequence !== sequence) continue;
      if ((message.flags & Flag.DUMP_INTR) !== 0) interrupted = true;
      if (message.type === Control.ERROR || message.type === Control.DONE) {
        const answer = message.body.length < 4 ? { errno: 0 } : readAnswer(message);
        return { ...answer, bodies, interrupted };
      }
      bodies.push(message.body);
    }
  }
}
