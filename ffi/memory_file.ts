/**
 * Files that exist in memory only (`memfd_create(2)`): how a library or a program that wants a
 * path gets bytes of ours, without anything on disk.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { errnoText } from "./errno.ts";
import { cString, errno } from "./libc.ts";
import { type FunctionTable, openLibrary } from "./library.ts";

const SYMBOLS = {
  // int memfd_create(const char *name, unsigned flags) — sys/mman.h
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t n) — unistd.h
  write: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // int close(int fd) — unistd.h
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies FunctionTable;

/** `MFD_CLOEXEC`, linux/memfd.h. */
const MFD_CLOEXEC = 1;

let opened: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

/** A file in memory, until disposed. */
export class MemoryFile implements Disposable {
  readonly #fd: number;
  readonly #c = opened ??= openLibrary("libc.so.6", SYMBOLS);

  /**
   * @param name what `/proc` shows; any text.
   * @throws {OpError} when the kernel has no memory or descriptor left.
   */
  constructor(name: string, bytes: Uint8Array<ArrayBuffer>) {
    this.#fd = this.#c.memfd_create(cString(name), MFD_CLOEXEC);
    if (this.#fd < 0) throw failure(name);
    using undo = new DisposableStack();
    undo.use(this);
    for (let at = 0; at < bytes.length;) {
      const rest = bytes.subarray(at);
      const written = Number(this.#c.write(this.#fd, rest, BigInt(rest.length)));
      if (written <= 0) throw failure(name);
      at += written;
    }
    undo.move();
  }

  /** A path by which this process and its children can read the file. */
  get path(): string {
    return `/proc/${Deno.pid}/fd/${this.#fd}`;
  }

  [Symbol.dispose](): void {
    this.#c.close(this.#fd);
  }
}

function failure(name: string): OpError {
  const code = errno();
  return new OpError("make memory file", name, {
    code: ErrorCode.io,
    errno: code,
    kernel: errnoText(code),
  });
}
