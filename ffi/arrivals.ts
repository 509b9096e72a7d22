/**
 * Sees single UDP datagrams arrive on a link, whatever the kernel does with them afterwards: an
 * AF_PACKET socket with a filter, so that no other packet costs anything.
 *
 * @module
 */

import type { Family } from "../engine/ip.ts";
import { type Nonce, PROBE_VNI, readProbe } from "../engine/trace/nonce.ts";
import type { Poller } from "./poll.ts";
import { Domain, RawSocket } from "./raw_socket.ts";

/** linux/if_ether.h */
const ETHERTYPE = { 4: 0x0800, 6: 0x86dd } as const satisfies Record<Family, number>;
/** linux/if_packet.h, `struct sockaddr_ll`. */
const SOCKADDR_LL = 20;
/** sys/socket.h, asm-generic/socket.h */
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
/** No probe is longer. */
const SNAP = 256;

/** Calls `arrived` with the nonce of each probe that comes in by a link, until disposed. */
export class ArrivalWatch implements Disposable {
  readonly #stack: DisposableStack;

  /**
   * @param index of the link.
   * @param port UDP destination port of the overlay.
   * @throws {OpError} without CAP_NET_RAW.
   */
  constructor(
    poller: Poller,
    { index, family, port }: {
      readonly index: number;
      readonly family: Family;
      readonly port: number;
    },
    arrived: (nonce: Nonce) => void,
  ) {
    using undo = new DisposableStack();
    // Protocol 0 receives nothing until the filter is on and the link is bound.
    const socket = undo.use(new RawSocket(Domain.PACKET, SOCK_DGRAM, 0, "a packet socket"));
    attachFilter(socket, filterOf(family, port));
    socket.bind(linkAddress(ETHERTYPE[family], index));
    const buffer = new Uint8Array(SNAP);
    undo.use(poller.watch(socket.fd, () => {
      for (let n = socket.receive(buffer); n !== undefined; n = socket.receive(buffer)) {
        const nonce = readProbe(buffer.subarray(0, n), port);
        if (nonce !== undefined) arrived(nonce);
      }
    }));
    this.#stack = undo.move();
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

function linkAddress(ethertype: number, index: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(SOCKADDR_LL));
  view.setUint16(0, Domain.PACKET, true);
  view.setUint16(2, ethertype);
  view.setInt32(4, index, true);
  return new Uint8Array(view.buffer);
}

/** One instruction of classic BPF: `struct sock_filter`, linux/filter.h. */
type Instruction = readonly [code: number, onTrue: number, onFalse: number, value: number];

/** linux/bpf_common.h: class, size and mode put together. */
const Bpf = {
  /** A := byte, half word or word at a place. */
  LDB: 0x30,
  LDH: 0x28,
  LDW: 0x20,
  /** The same at X and a place. */
  LDH_X: 0x48,
  LDW_X: 0x40,
  /** X := 4 × the low half of a byte: the length of an IPv4 header. */
  LDX_MSH: 0xb1,
  /** X := a number. */
  LDX_IMM: 0x01,
  RSH: 0x74,
  JEQ: 0x15,
  RET: 0x06,
} as const;

const UDP = 17;

/**
 * The program that lets probes through and nothing else: a mismatch jumps to its last line. What a
 * socket of type DGRAM sees begins at the IP header.
 */
function filterOf(family: Family, port: number): Instruction[] {
  return [
    [Bpf.LDB, 0, 0, family === 4 ? 9 : 6],
    [Bpf.JEQ, 0, 7, UDP],
    family === 4 ? [Bpf.LDX_MSH, 0, 0, 0] : [Bpf.LDX_IMM, 0, 0, 40],
    [Bpf.LDH_X, 0, 0, 2],
    [Bpf.JEQ, 0, 4, port],
    [Bpf.LDW_X, 0, 0, 12],
    [Bpf.RSH, 0, 0, 8],
    [Bpf.JEQ, 0, 1, PROBE_VNI],
    [Bpf.RET, 0, 0, SNAP],
    [Bpf.RET, 0, 0, 0],
  ];
}

function attachFilter(socket: RawSocket, program: readonly Instruction[]): void {
  const code = new DataView(new ArrayBuffer(program.length * 8));
  program.forEach(([op, onTrue, onFalse, value], i) => {
    code.setUint16(8 * i, op, true);
    code.setUint8(8 * i + 2, onTrue);
    code.setUint8(8 * i + 3, onFalse);
    code.setUint32(8 * i + 4, value, true);
  });
  // struct sock_fprog: the number of instructions, and where they are.
  const bytes = new Uint8Array(code.buffer);
  const head = new DataView(new ArrayBuffer(16));
  head.setUint16(0, program.length, true);
  head.setBigUint64(8, Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)), true);
  socket.option(SOL_SOCKET, SO_ATTACH_FILTER, new Uint8Array(head.buffer));
  // The kernel has copied it; until then nothing may have freed it.
  if (bytes.length === 0) throw new TypeError("an empty filter");
}
