/**
 * Packet sockets: what passes one interface, through a ring of blocks that the kernel fills and we
 * read in place (`TPACKET_V3`, packet(7), Documentation/networking/packet_mmap.rst). The kernel
 * gives a block away when it is full, or {@link RETIRE_MS} after it was begun.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Errno, errnoText } from "./errno.ts";
import { errno } from "./libc.ts";

/** sys/socket.h, sys/mman.h, unistd.h. */
const SYMBOLS = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int fd, const struct sockaddr *address, socklen_t size)
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  // int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  // void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  // int munmap(void *at, size_t size)
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Those that wait until no processor looks at the old state any more: 20 ms each, and a node has
 * hundreds of interfaces. On other threads they wait together.
 */
const SLOW_SYMBOLS = {
  setsockopt: { ...SYMBOLS.setsockopt, nonblocking: true },
  close: { ...SYMBOLS.close, nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Symbols | undefined;

function symbols(): Symbols {
  return opened ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

let openedSlow: Deno.DynamicLibrary<typeof SLOW_SYMBOLS>["symbols"] | undefined;

function slowSymbols(): NonNullable<typeof openedSlow> {
  return openedSlow ??= Deno.dlopen("libc.so.6", SLOW_SYMBOLS).symbols;
}

/** linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h, sys/mman.h; a test asks the headers. */
export const PacketConstant = {
  AF_PACKET: 17,
  SOCK_RAW: 3,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_ATTACH_FILTER: 26,
  SOL_PACKET: 263,
  PACKET_RX_RING: 5,
  PACKET_STATISTICS: 6,
  PACKET_VERSION: 10,
  TPACKET_V3: 2,
  PACKET_OUTGOING: 4,
  TP_STATUS_KERNEL: 0,
  TP_STATUS_USER: 1,
  TP_STATUS_CSUMNOTREADY: 8,
  TP_STATUS_VLAN_VALID: 16,
  TP_STATUS_VLAN_TPID_VALID: 64,
  ETH_P_ALL: 3,
  ETH_P_8021Q: 0x8100,
  PROT_READ: 1,
  PROT_WRITE: 2,
  MAP_SHARED: 1,
} as const;
const C = PacketConstant;

/** `struct tpacket_block_desc` with `struct tpacket_hdr_v1` in it; bytes. */
export const BLOCK_AT = { status: 8, packets: 12, first: 16, length: 20 } as const;

/** `struct tpacket3_hdr`; bytes. */
export const PACKET_AT = {
  next: 0,
  sec: 4,
  nsec: 8,
  snapLength: 12,
  length: 16,
  status: 20,
  mac: 24,
  vlan: 32,
  vlanProtocol: 36,
} as const;

/** `sizeof(struct tpacket3_hdr)`, aligned: a `struct sockaddr_ll` stands behind it. */
export const PACKET_HEADER = 48;

/** `struct sockaddr_ll`; bytes. */
export const ADDRESS_AT = { protocol: 2, index: 4, type: 10 } as const;
/** `sizeof(struct sockaddr_ll)`. */
export const ADDRESS_SIZE = 20;

/** `BPF_RET | BPF_K`, linux/filter.h: ends a filter, with the number of bytes to keep. */
const BPF_RET_K = 6;

/**
 * A block holds the largest frame there is (64 KiB and headers), unless only the start of each is
 * kept; bytes. As small as can be: each counts for {@link RETIRE_MS}, however little is in it.
 */
const BLOCK_SIZE = { whole: 128 << 10, cut: 32 << 10 } as const;
/** Frames that are kept up to here fit the smaller block many times; bytes. */
const CUT = 1024;

/** A block that is not full is given away after this time; milliseconds. */
export const RETIRE_MS = 20;

/** What a frame is told with; `bytes` is ours to keep. */
export type OnFrame = (frame: RawFrame) => void;

/** One frame as the kernel showed it. */
export interface RawFrame {
  /** From the link header on, VLAN tag put back; as far as it was kept. */
  readonly bytes: Uint8Array;
  /** Bytes that the frame had. */
  readonly length: number;
  /** When, since 1970. */
  readonly sec: number;
  readonly nsec: number;
  /** Sent by the interface, not received. */
  readonly out: boolean;
  /** The checksum is left to a device: it is not right yet. */
  readonly openChecksum: boolean;
}

/** What a capture is opened with. */
export interface PacketSocketOptions {
  /** The interface, in the namespace of the calling thread. */
  readonly name: string;
  readonly index: number;
  /** Bytes of each frame to keep. */
  readonly snapLength: number;
  /** Bytes of memory that the kernel may fill before we read. */
  readonly ring: number;
}

/** Numbers of one interface. */
export interface PacketCounts {
  /** Frames that passed it. */
  readonly received: number;
  /** Of these, how many found no room. */
  readonly lost: number;
}

/**
 * One interface's frames. The socket stays in the network namespace that it was made in; it hears
 * nothing before {@link PacketSocket.start}.
 */
export class PacketSocket implements AsyncDisposable {
  readonly name: string;
  readonly #fd: number;
  readonly #blocks: number;
  readonly #blockSize: number;
  readonly #index: number;
  #map: Deno.PointerObject | undefined;
  #memory = new ArrayBuffer(0);
  #view = new DataView(this.#memory);
  /** For the status words, which the kernel writes meanwhile. */
  #words = new Int32Array(this.#memory);
  #next = 0;
  #received = 0;
  #lost = 0;

  /** @throws {OpError} when the socket cannot be made: no CAP_NET_RAW. */
  constructor({ name, index, snapLength, ring }: PacketSocketOptions) {
    const { socket, close } = symbols();
    [this.name, this.#index] = [name, index];
    this.#blockSize = snapLength <= CUT ? BLOCK_SIZE.cut : BLOCK_SIZE.whole;
    this.#blocks = Math.max(2, Math.floor(ring / this.#blockSize));
    // Protocol 0: nothing comes in before all is set up.
    this.#fd = this.#must(
      "open a packet socket for",
      socket(C.AF_PACKET, C.SOCK_RAW | C.SOCK_CLOEXEC, 0),
    );
    using undo = new DisposableStack();
    undo.defer(() => close(this.#fd));
    this.#option(C.SOL_PACKET, C.PACKET_VERSION, Int32Array.of(C.TPACKET_V3));
    this.#cut(snapLength);
    undo.move();
  }

  /** Makes the ring, and begins. @throws {OpError} no memory, no such interface any more */
  async start(): Promise<void> {
    const { bind, mmap } = symbols();
    const size = this.#blocks * this.#blockSize;
    // struct tpacket_req3: block size, blocks, frame size, frames, time out, private, features.
    const frame = 2048;
    const frames = size / frame;
    const request = Uint32Array.of(this.#blockSize, this.#blocks, frame, frames, RETIRE_MS, 0, 0);
    const bytes = new Uint8Array(request.buffer);
    const { setsockopt } = slowSymbols();
    if (await setsockopt(this.#fd, C.SOL_PACKET, C.PACKET_RX_RING, bytes, bytes.length) !== 0) {
      // The other thread's error number is not ours to read: it fails here again, or does not.
      this.#option(C.SOL_PACKET, C.PACKET_RX_RING, request);
    }
    const map = mmap(null, BigInt(size), C.PROT_READ | C.PROT_WRITE, C.MAP_SHARED, this.#fd, 0n);
    if (map === null || Deno.UnsafePointer.value(map) === MAP_FAILED) throw this.#failure("map");
    this.#map = map;
    this.#memory = Deno.UnsafePointerView.getArrayBuffer(map, size);
    this.#view = new DataView(this.#memory);
    this.#words = new Int32Array(this.#memory);
    const address = new Uint8Array(ADDRESS_SIZE);
    const view = new DataView(address.buffer);
    view.setUint16(0, C.AF_PACKET, true);
    view.setUint16(ADDRESS_AT.protocol, C.ETH_P_ALL);
    view.setInt32(ADDRESS_AT.index, this.#index, true);
    this.#must("capture on", bind(this.#fd, address, ADDRESS_SIZE));
  }

  /** Has the kernel keep only the start of each frame. */
  #cut(snapLength: number): void {
    // struct sock_filter: code, two jumps, a number. struct sock_fprog: how many, where.
    const program = new Uint8Array(8);
    const view = new DataView(program.buffer);
    view.setUint16(0, BPF_RET_K, true);
    view.setUint32(4, snapLength, true);
    const at = Deno.UnsafePointer.value(Deno.UnsafePointer.of(program));
    this.#option(C.SOL_SOCKET, C.SO_ATTACH_FILTER, BigUint64Array.of(1n, at));
  }

  #option(level: number, name: number, value: ArrayBufferView<ArrayBuffer>): void {
    const bytes = new Uint8Array(value.buffer);
    this.#must(
      "prepare a packet socket for",
      symbols().setsockopt(this.#fd, level, name, bytes, bytes.length),
    );
  }

  /**
   * Tells all frames that the kernel has given away, in the order of the interface.
   *
   * @returns how many there were
   */
  drain(tell: OnFrame): number {
    let count = 0;
    // At most once around: who is flooded must still look at the other interfaces.
    for (let i = 0; i < this.#blocks; i++) {
      const at = this.#next * this.#blockSize;
      const status = (at + BLOCK_AT.status) / 4;
      if ((Atomics.load(this.#words, status) & C.TP_STATUS_USER) === 0) break;
      count += this.#readBlock(at, tell);
      Atomics.store(this.#words, status, C.TP_STATUS_KERNEL);
      this.#next = (this.#next + 1) % this.#blocks;
    }
    return count;
  }

  #readBlock(at: number, tell: OnFrame): number {
    const packets = this.#view.getUint32(at + BLOCK_AT.packets, true);
    const length = this.#view.getUint32(at + BLOCK_AT.length, true);
    // One copy for all of its frames: the block goes back to the kernel at once.
    const bytes = new Uint8Array(this.#memory.slice(at, at + length));
    const view = new DataView(bytes.buffer);
    let header = this.#view.getUint32(at + BLOCK_AT.first, true);
    for (let i = 0; i < packets; i++) {
      tell(readFrame(bytes, view, header));
      header += view.getUint32(header + PACKET_AT.next, true);
    }
    return packets;
  }

  /** What passed since the socket was opened. @throws {OpError} */
  counts(): PacketCounts {
    // struct tpacket_stats_v3: received, lost, times the queue was full. Reading starts them anew.
    const stats = new Uint32Array(3);
    const size = new Uint32Array([12]);
    this.#must(
      "count the packets of",
      symbols().getsockopt(
        this.#fd,
        C.SOL_PACKET,
        C.PACKET_STATISTICS,
        new Uint8Array(stats.buffer),
        new Uint8Array(size.buffer),
      ),
    );
    this.#received += stats[0]!;
    this.#lost += stats[1]!;
    return { received: this.#received, lost: this.#lost };
  }

  #must(deed: string, result: number): number {
    if (result < 0) throw this.#failure(deed);
    return result;
  }

  #failure(deed: string): OpError {
    const code = errno();
    return new OpError(deed, this.name, {
      code: ErrorCode.kernel,
      errno: code,
      kernel: errnoText(code),
      ...(code === Errno.EPERM
        ? { advice: "Run it as root: packet sockets need the capability CAP_NET_RAW" }
        : {}),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#map !== undefined) symbols().munmap(this.#map, BigInt(this.#memory.byteLength));
    this.#map = undefined;
    await slowSymbols().close(this.#fd);
  }
}

/** `(void *)-1`. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

function readFrame(bytes: Uint8Array, view: DataView, at: number): RawFrame {
  const status = view.getUint32(at + PACKET_AT.status, true);
  const start = at + view.getUint16(at + PACKET_AT.mac, true);
  const kept = view.getUint32(at + PACKET_AT.snapLength, true);
  const frame = bytes.subarray(start, start + kept);
  const length = view.getUint32(at + PACKET_AT.length, true);
  const tagged = (status & C.TP_STATUS_VLAN_VALID) !== 0 && kept >= 12;
  return {
    bytes: tagged ? withTag(frame, view, at, status) : frame,
    length: tagged ? length + 4 : length,
    sec: view.getUint32(at + PACKET_AT.sec, true),
    nsec: view.getUint32(at + PACKET_AT.nsec, true),
    out: bytes[at + PACKET_HEADER + ADDRESS_AT.type] === C.PACKET_OUTGOING,
    openChecksum: (status & C.TP_STATUS_CSUMNOTREADY) !== 0,
  };
}

/** The frame with the VLAN tag that the kernel took out, where it stood: behind the addresses. */
function withTag(
  frame: Uint8Array,
  view: DataView,
  at: number,
  status: number,
): Uint8Array {
  const protocol = (status & C.TP_STATUS_VLAN_TPID_VALID) !== 0
    ? view.getUint16(at + PACKET_AT.vlanProtocol, true)
    : C.ETH_P_8021Q;
  const tagged = new Uint8Array(frame.length + 4);
  tagged.set(frame.subarray(0, 12));
  const out = new DataView(tagged.buffer);
  out.setUint16(12, protocol);
  out.setUint16(14, view.getUint32(at + PACKET_AT.vlan, true));
  tagged.set(frame.subarray(12), 16);
  return tagged;
}
