/**
 * `libnl-3.so.200`: the netlink socket. The system's copy is preferred; without one, the copy
 * embedded in the binary is written to a memory file and opened from there, so nothing appears
 * on disk.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { type FunctionTable, openLibrary } from "./library.ts";
import { MemoryFile } from "./memory_file.ts";

/** netlink/socket.h and netlink/netlink.h, in their order. */
const SYMBOLS = {
  // const char *nl_geterror(int error) — static text
  nl_geterror: { parameters: ["i32"], result: "pointer" },
  // struct nl_sock *nl_socket_alloc(void) — freed by nl_socket_free
  nl_socket_alloc: { parameters: [], result: "pointer" },
  // void nl_socket_free(struct nl_sock *) — closes the descriptor too
  nl_socket_free: { parameters: ["pointer"], result: "void" },
  // int nl_socket_add_membership(struct nl_sock *, int group)
  nl_socket_add_membership: { parameters: ["pointer", "i32"], result: "i32" },
  // int nl_socket_get_fd(const struct nl_sock *)
  nl_socket_get_fd: { parameters: ["pointer"], result: "i32" },
  // int nl_connect(struct nl_sock *, int protocol)
  nl_connect: { parameters: ["pointer", "i32"], result: "i32" },
  // int nl_sendto(struct nl_sock *, void *buf, size_t size) — bytes or -NLE_*
  nl_sendto: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
} as const satisfies FunctionTable;

/** The opened table; see {@link libnl}. */
export type Libnl = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const SONAME = "libnl-3.so.200";

/**
 * The same `nl_sendto` on a thread of Deno's pool: for requests that the kernel takes its time for,
 * in a process that has other things to do. A table of its own: who never asks does not pay.
 */
const OFF_THREAD = {
  nl_sendto: { parameters: ["pointer", "buffer", "usize"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

let opened: Libnl | undefined;
let openedOff: Deno.DynamicLibrary<typeof OFF_THREAD>["symbols"] | undefined;

/**
 * libnl, opened on first use and kept for the life of the process.
 *
 * @throws {OpError} when neither the system nor the binary has it; lists what was tried.
 */
export function libnl(): Libnl {
  return opened ??= open((path) => openLibrary(path, SYMBOLS));
}

/**
 * `nl_sendto` that does not hold up the calling thread, opened on first use.
 *
 * @throws {OpError} as {@link libnl}.
 */
export function libnlOffThread(): Deno.DynamicLibrary<typeof OFF_THREAD>["symbols"] {
  return openedOff ??= open((path) => Deno.dlopen(path, OFF_THREAD).symbols);
}

function open<T>(opener: (path: string) => T): T {
  let missing: unknown;
  try {
    return opener(SONAME);
  } catch (e) {
    missing = e;
  }
  try {
    return openCopy(opener);
  } catch (e) {
    throw new OpError("load", SONAME, {
      code: ErrorCode.program,
      kernel: `${messageOf(missing)}; embedded copy: ${messageOf(e)}`,
      advice: "Install the package libnl-3-200 (Debian, Ubuntu) or libnl3 (Fedora, Alpine: libnl3)",
    });
  }
}

/** Opens the copy that the build put into the binary. @throws when there is none */
export function openEmbedded(): Libnl {
  return openCopy((path) => openLibrary(path, SYMBOLS));
}

function openCopy<T>(opener: (path: string) => T): T {
  const bytes = Deno.readFileSync(new URL(`../dist/embed/${SONAME}`, import.meta.url));
  using file = new MemoryFile(SONAME, bytes);
  return opener(file.path);
}

/** libnl's own words for a negative result. */
export function nlText(result: number): string {
  const at = libnl().nl_geterror(result);
  return at === null ? `libnl error ${result}` : Deno.UnsafePointerView.getCString(at);
}
