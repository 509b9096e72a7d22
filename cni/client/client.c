/*
 * The plugin as a runtime starts it: hands the request to the daemon of this node and prints the
 * answer; where there is no answer to be had, becomes the full program, which does the same work.
 * A request is never lost and never done twice: protocol.md says how.
 *
 * System calls only, no C library: this starts in half a millisecond, once for each plugin of each
 * pod. There is no allocator either, and nothing is given back: the process lives for one request.
 */

#if defined(__x86_64__)
#include "system_x86_64.h"
#elif defined(__aarch64__)
#include "system_aarch64.h"
#else
#error "no system calls for this architecture"
#endif

/* Set by the build; both ends must agree. */
#ifndef BUILD_ID
#define BUILD_ID "dev"
#endif
/* A test puts its own servers elsewhere. */
#ifndef SOCKET_PATH
#define SOCKET_PATH "/run/twill/cni.sock"
#endif
/* Seconds: to be heard and accepted; to be served. A runtime's own patience is two minutes or more. */
#ifndef ACCEPT_SECONDS
#define ACCEPT_SECONDS 5
#endif
#ifndef ANSWER_SECONDS
#define ANSWER_SECONDS 110
#endif
#define CONNECT_SECONDS 2

typedef unsigned long size;
typedef unsigned int u32;

/* errno.h, fcntl.h, sys/socket.h, poll.h, sys/mman.h, signal.h. */
enum { EINTR = 4, EAGAIN = 11, AT_FDCWD = -100 };
enum { AF_UNIX = 1, SOCK_STREAM_CLOEXEC = 1 | 02000000, SHUT_RDWR = 2 };
enum { SOL_SOCKET = 1, SO_SNDTIMEO = 21, MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000 };
enum { POLLIN = 1, POLLOUT = 4 };
enum { PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22, MREMAP_MAYMOVE = 1 };
enum { SIGPIPE = 13, CLOCK_MONOTONIC = 1 };

enum {
  FIRST_BUFFER = 64 << 10,
  LARGEST_HEADER = 1 << 20,
  LARGEST_INPUT = 16 << 20,
  LARGEST_OUTPUT = 16 << 20,
  LONGEST_PATH = 4096,
  PREFIX = 12,
};

struct span {
  char *at;
  size length;
};

/* The compiler calls these for copies and clears of its own. */
void *memcpy(void *to, const void *from, size n) {
  for (size i = 0; i < n; i++) ((volatile char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memset(void *to, int byte, size n) {
  for (size i = 0; i < n; i++) ((volatile char *)to)[i] = (char)byte;
  return to;
}

static size length_of(const char *text) {
  size n = 0;
  while (text[n]) n++;
  return n;
}

static long call(long n, long a, long b, long c) { return system_call(n, a, b, c, 0, 0, 0); }

/* The value when `entry` is NAME=VALUE (`name` ends in "="), else 0. */
static const char *value_of(const char *entry, const char *name) {
  while (*name) {
    if (*entry++ != *name++) return 0;
  }
  return entry;
}

static const char *variable(char **env, const char *name) {
  for (; *env; env++) {
    const char *value = value_of(*env, name);
    if (value) return value;
  }
  return "";
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static long now(void) {
  long time[2] = {0, 0};
  call(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, (long)time, 0);
  return time[0] * 1000 + time[1] / 1000000;
}

/* Waits until the descriptor is ready, or the deadline (ms; -1: none) has passed: then 0. */
static int ready(int fd, short events, long deadline) {
  for (;;) {
    struct { int fd; short events, revents; } one = {fd, events, 0};
    long rest = deadline < 0 ? 0 : deadline - now();
    if (rest < 0) return 0;
    long time[2] = {rest / 1000, rest % 1000 * 1000000};
    long n = system_call(SYS_PPOLL, (long)&one, 1, deadline < 0 ? 0 : (long)time, 0, 0, 0);
    if (n != -EINTR) return n > 0;
  }
}

static void *memory(size length) {
  long at = system_call(SYS_MMAP, 0, (long)length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  return at < 0 && at > -4096 ? 0 : (void *)at;
}

static int write_all(int fd, const char *at, size length) {
  while (length > 0) {
    long n = call(SYS_WRITE, fd, (long)at, (long)length);
    if (n == -EINTR) continue;
    if (n == -EAGAIN && ready(fd, POLLOUT, -1)) continue;
    if (n <= 0) return 0;
    at += n;
    length -= (size)n;
  }
  return 1;
}

/* As read(2), but waits where the caller's descriptor does not. */
static long read_some(int fd, char *at, size length) {
  for (;;) {
    long n = call(SYS_READ, fd, (long)at, (long)length);
    if (n == -EINTR) continue;
    if (n == -EAGAIN && ready(fd, POLLIN, -1)) continue;
    return n;
  }
}

/* Fills `in` until the end of stdin or LARGEST_INPUT. False: it cannot be read to its end here. */
static int read_input(struct span *in, int *ended) {
  size room = FIRST_BUFFER;
  in->at = memory(room);
  if (!in->at) return 0;
  while (in->length < LARGEST_INPUT) {
    if (in->length == room) {
      long at = system_call(SYS_MREMAP, (long)in->at, (long)room, (long)room * 2, MREMAP_MAYMOVE, 0, 0);
      if (at < 0 && at > -4096) return 0;
      in->at = (char *)at;
      room *= 2;
    }
    long n = read_some(0, in->at + in->length, room - in->length);
    if (n < 0) return 0;
    if (n == 0) {
      *ended = 1;
      return 1;
    }
    in->length += (size)n;
  }
  return 0;
}

/* Puts what was read from stdin, and the rest of it, into a file that the next program reads. */
static int restore_input(struct span in, int ended) {
  static char rest[FIRST_BUFFER];
  long fd = call(SYS_MEMFD_CREATE, (long)"twill-stdin", 0, 0);
  if (fd < 0 || !write_all((int)fd, in.at, in.length)) return 0;
  while (!ended) {
    long n = read_some(0, rest, sizeof rest);
    if (n <= 0) break;
    if (!write_all((int)fd, rest, (size)n)) return 0;
  }
  call(SYS_LSEEK, fd, 0, 0);
  if (fd == 0) return 1;
  if (call(SYS_DUP3, fd, 0, 0) < 0) return 0;
  call(SYS_CLOSE, fd, 0, 0);
  return 1;
}

static char *append(char *to, const char *text) {
  while (*text) *to++ = *text++;
  return to;
}

static char *append_number(char *to, size number) {
  char digits[20];
  int n = 0;
  do digits[n++] = (char)('0' + number % 10);
  while (number /= 10);
  while (n > 0) *to++ = digits[--n];
  return to;
}

/* NAME=DEVICE:INODE with its zero byte; nothing behind the name when it cannot be told. */
static char *append_identity(char *to, const char *name, const char *path) {
  size stat[STAT_WORDS];
  to = append(to, name);
  if (system_call(SYS_NEWFSTATAT, AT_FDCWD, (long)path, (long)stat, 0, 0, 0) == 0) {
    to = append_number(to, stat[0]);
    *to++ = ':';
    to = append_number(to, stat[1]);
  }
  *to++ = 0;
  return to;
}

/* A name for this call that no other has: a random number in hexadecimal digits. */
static void name_call(char name[33]) {
  unsigned char bytes[16] = {0};
  call(SYS_GETRANDOM, (long)bytes, sizeof bytes, 0);
  for (int i = 0; i < 16; i++) {
    name[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
    name[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
  }
  name[32] = 0;
}

static void put_number(char *to, u32 number) { memcpy(to, &number, 4); }

/* The first two parts of a request; nothing when the environment is too large to be sent. */
static struct span make_head(const char *plugin, const char *call_name, char **env, size input) {
  struct span head = {0, 0};
  size length = 1024 + length_of(plugin);
  for (char **e = env; *e; e++) length += length_of(*e) + 1;
  if (length > LARGEST_HEADER || !(head.at = memory(length))) return head;
  char *to = head.at + PREFIX;
  to = append(append(to, "plugin="), plugin) + 1;
  to = append(to, "build=" BUILD_ID) + 1;
  to = append(append(to, "call="), call_name) + 1;
  to = append_identity(to, "netns=", "/proc/self/ns/net");
  to = append_identity(to, "mntns=", "/proc/self/ns/mnt");
  to = append_identity(to, "root=", "/");
  to = append_identity(to, "cwd=", ".");
  /* By these a daemon in another mount namespace knows whether it sees the same files. */
  to = append_identity(to, "self=", "/proc/self/exe");
  to = append_identity(to, "pod=", variable(env, "CNI_NETNS="));
  to = append_identity(to, "state=", "/var/lib/cni");
  to = append_identity(to, "records=", "/var/lib/cni/flannel");
  to = append_identity(to, "subnet=", "/run/flannel/subnet.env");
  *to++ = 0;
  for (; *env; env++) to = append(to, *env) + 1;
  head.length = (size)(to - head.at);
  append(head.at, "TWL1");
  put_number(head.at + 4, (u32)(head.length - PREFIX));
  put_number(head.at + 8, (u32)input);
  return head;
}

static int dial(void) {
  struct { unsigned short family; char path[108]; } address = {AF_UNIX, SOCKET_PATH};
  long fd = call(SYS_SOCKET, AF_UNIX, SOCK_STREAM_CLOEXEC, 0);
  if (fd < 0) return -1;
  long patience[2] = {CONNECT_SECONDS, 0};
  system_call(SYS_SETSOCKOPT, fd, SOL_SOCKET, SO_SNDTIMEO, (long)patience, sizeof patience, 0);
  long result = call(SYS_CONNECT, fd, (long)&address, sizeof address);
  return result < 0 ? -1 : (int)fd;
}

static int send_all(int fd, struct span part, long deadline) {
  while (part.length > 0) {
    long n = system_call(SYS_SENDTO, fd, (long)part.at, (long)part.length,
                         MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    if (n == -EINTR) continue;
    if (n == -EAGAIN && ready(fd, POLLOUT, deadline)) continue;
    if (n <= 0) return 0;
    part.at += n;
    part.length -= (size)n;
  }
  return 1;
}

static int receive_all(int fd, char *at, size length, long deadline) {
  while (length > 0) {
    if (!ready(fd, POLLIN, deadline)) return 0;
    long n = system_call(SYS_RECVFROM, fd, (long)at, (long)length, MSG_DONTWAIT, 0, 0);
    if (n == -EINTR || n == -EAGAIN) continue;
    if (n <= 0) return 0;
    at += n;
    length -= (size)n;
  }
  return 1;
}

static void end(int status) {
  for (;;) call(SYS_EXIT_GROUP, status, 0, 0);
}

/* Prints the answer behind an 'A' and ends; returns when there is no whole one. */
static void print_answer(int fd) {
  u32 head[3];
  long deadline = now() + ANSWER_SECONDS * 1000;
  if (!receive_all(fd, (char *)head, sizeof head, deadline)) return;
  if (head[0] > 255 || head[1] > LARGEST_OUTPUT || head[2] > LARGEST_OUTPUT) return;
  size length = (size)head[1] + head[2];
  char *text = memory(length + 1);
  if (!text || !receive_all(fd, text, length, deadline)) return;
  /* Nobody may be reading any more: that is a failed write, not a death. */
  long ignore[4] = {1, 0, 0, 0};
  system_call(SYS_RT_SIGACTION, SIGPIPE, (long)ignore, 0, 8, 0, 0);
  write_all(2, text + head[1], head[2]);
  end(write_all(1, text, head[1]) ? (int)head[0] : 1);
}

/* Asks the daemon. Returns when the work must be done here; 1: the daemon may have begun it. */
static int ask(const char *plugin, const char *call_name, char **env, struct span input) {
  struct span head = make_head(plugin, call_name, env, input.length);
  if (!head.length) return 0;
  int fd = dial();
  if (fd < 0) return 0;
  long deadline = now() + ACCEPT_SECONDS * 1000;
  char word = 0;
  /* A daemon that has heard enough to refuse may close before all is sent: its word still counts. */
  int sent = send_all(fd, head, deadline) && send_all(fd, input, deadline);
  if (!sent || !receive_all(fd, &word, 1, deadline)) {
    /* From here on it cannot accept any more; what it said before can still be read. */
    call(SYS_SHUTDOWN, fd, SHUT_RDWR, 0);
    receive_all(fd, &word, 1, now());
  }
  if (word == 'A') print_answer(fd);
  call(SYS_CLOSE, fd, 0, 0);
  return word == 'A';
}

/* Becomes `twill` in the directory of this very file; argv[0] tells it which plugin it is. */
static void become_twill(char **argv, char **env) {
  static char path[LONGEST_PATH + 8];
  long n = system_call(SYS_READLINKAT, AT_FDCWD, (long)"/proc/self/exe", (long)path, LONGEST_PATH, 0, 0);
  while (n > 0 && path[n - 1] != '/') n--;
  if (n > 0) {
    *append(path + n, "twill") = 0;
    call(SYS_EXECVE, (long)path, (long)argv, (long)env);
  }
  static const char words[] =
      "{ \"cniVersion\": \"1.0.0\", \"code\": 102, \"msg\": \"Cannot run twill beside the plugin\","
      " \"details\": \"Run twill install again\" }\n";
  write_all(1, words, sizeof words - 1);
  end(1);
}

__attribute__((used)) void client_main(size *stack) {
  size argc = stack[0];
  char **argv = (char **)(stack + 1);
  char **env = argv + argc + 1;
  const char *command = variable(env, "CNI_COMMAND=");
  /* Started by hand, by the daemon, or as its substitute: no daemon is asked. */
  if (argc == 0 || !*command || same(variable(env, "TWILL_DIRECT="), "1") ||
      *variable(env, "TWILL_RESUME=")) {
    become_twill(argv, env);
  }
  const char *plugin = argv[0];
  for (const char *c = argv[0]; *c; c++) {
    if (*c == '/') plugin = c + 1;
  }
  static char resume[] = "TWILL_RESUME=\0.................................";
  char *call_name = resume + sizeof "TWILL_RESUME=" - 1;
  name_call(call_name);

  struct span input = {0, 0};
  int ended = 0, begun = 0;
  int reads = !same(command, "VERSION");
  if (!reads || read_input(&input, &ended)) begun = ask(plugin, call_name, env, input);
  if (reads && (ended || input.length > 0)) restore_input(input, ended);
  if (begun) {
    size n = 0;
    while (env[n]) n++;
    char **longer = memory((n + 2) * sizeof *longer);
    if (longer) {
      longer[0] = resume;
      for (size i = 0; i <= n; i++) longer[i + 1] = env[i];
      env = longer;
    }
  }
  become_twill(argv, env);
}
