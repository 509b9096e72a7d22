/**
 * The few symbols of the C library that Deno does not offer. Each costs start-up time, so the
 * table stays short and is opened on first use.
 *
 * @module
 */

import { type FunctionTable, openLibrary } from "./library.ts";

/** In the order of their headers; the C signature stands beside each. */
const SYMBOLS = {
  // int *__errno_location(void) — errno.h
  __errno_location: { parameters: [], result: "pointer" },
  // int open(const char *path, int flags) — fcntl.h
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // int setns(int fd, int nstype) — sched.h
  setns: { parameters: ["i32", "i32"], result: "i32" },
  // ssize_t recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *, socklen_t *size)
  //   — sys/socket.h
  recvfrom: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "buffer"], result: "i64" },
  // int setsockopt(int fd, int level, int name, const void *value, socklen_t size) — sys/socket.h
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  // int close(int fd) — unistd.h
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies FunctionTable;

/** The opened table; see {@link libc}. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Libc | undefined;

/** The C library, opened on first use and kept for the life of the process. */
export function libc(): Libc {
  return opened ??= openLibrary("libc.so.6", SYMBOLS);
}

/** The number that the last failing C call left; read it in the very next FFI call. */
export function errno(): number {
  const at = libc().__errno_location();
  return at === null ? 0 : new Deno.UnsafePointerView(at).getInt32();
}

/** Text as C wants it: UTF-8 with a zero byte behind. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}
