/**
 * `sd_notify(3)`: tells the service manager that started us that we are ready.
 *
 * @module
 */

/** sys/socket.h and unistd.h. */
const SYMBOLS = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // ssize_t sendto(int fd, const void *, size_t, int flags, const struct sockaddr *, socklen_t)
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "i64" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `AF_UNIX`, and `SOCK_DGRAM | SOCK_CLOEXEC`. */
const AF_UNIX = 1;
const DATAGRAM = 2 | 0o2000000;
/** `sizeof(sun_path)`, sys/un.h. */
const LONGEST_PATH = 108;

/**
 * Sends a state, such as `READY=1`.
 *
 * @param socket the value of `NOTIFY_SOCKET`: a path, or an abstract name behind `@`.
 * @returns False when it could not be sent: the manager then goes by its own time limits.
 */
export function notify(socket: string, state: string): boolean {
  const name = new TextEncoder().encode(socket);
  if (name.length === 0 || name.length >= LONGEST_PATH) return false;
  if (name[0] === "@".charCodeAt(0)) name[0] = 0;
  // struct sockaddr_un: the family, two bytes, then the path.
  const address = new Uint8Array(2 + name.length);
  address[0] = AF_UNIX;
  address.set(name, 2);
  using opened = new DisposableStack();
  const library = opened.adopt(Deno.dlopen("libc.so.6", SYMBOLS), (l) => l.close());
  const { socket: open, sendto, close } = library.symbols;
  const fd = open(AF_UNIX, DATAGRAM, 0);
  if (fd < 0) return false;
  const bytes = new TextEncoder().encode(state);
  const sent = sendto(fd, bytes, BigInt(bytes.length), 0, address, address.length);
  close(fd);
  return sent === BigInt(bytes.length);
}
