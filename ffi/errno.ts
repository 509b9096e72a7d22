/**
 * Error numbers by name (asm-generic/errno-base.h and errno.h), and the kernel's usual words for
 * those that an operator meets.
 *
 * @module
 */

/** The numbers on which our code branches. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  EINVAL: 22,
  EADDRNOTAVAIL: 99,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  EHOSTUNREACH: 113,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
} as const;

const WORDS: Readonly<Record<number, string>> = {
  1: "Operation not permitted",
  2: "No such file or directory",
  3: "No such process",
  11: "Resource temporarily unavailable",
  12: "Cannot allocate memory",
  13: "Permission denied",
  16: "Device or resource busy",
  17: "File exists",
  19: "No such device",
  22: "Invalid argument",
  34: "Numerical result out of range",
  40: "Too many levels of symbolic links",
  92: "Protocol not available",
  95: "Operation not supported",
  97: "Address family not supported by protocol",
  98: "Address already in use",
  99: "Cannot assign requested address",
  100: "Network is down",
  101: "Network is unreachable",
  105: "No buffer space available",
  113: "No route to host",
};

/** What `strerror(3)` says of a positive error number, or `errno N`. */
export function errnoText(errno: number): string {
  return WORDS[errno] ?? `errno ${errno}`;
}
