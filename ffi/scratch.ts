/**
 * A network namespace that nobody else sees and that is gone afterwards: to try what a kernel can.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import type { Fact } from "../engine/fact.ts";
import { errnoText } from "./errno.ts";
import { Kernel } from "./kernel.ts";
import { errno } from "./libc.ts";
import { CLONE_NEWNET, Fd, NetnsGuard, OWN_NETNS } from "./netns.ts";
import { replaceTable } from "./nft.ts";

/** sched.h */
const SYMBOLS = {
  // int unshare(int flags)
  unshare: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Runs synchronous work in an empty network namespace of its own.
 *
 * @throws {OpError} when there cannot be one: it needs CAP_SYS_ADMIN.
 */
export function inScratch<T>(work: () => T): T {
  using home = new Fd(OWN_NETNS);
  // Entering home again is what brings the thread back when the guard ends.
  using _guard = new NetnsGuard(home);
  using undo = new DisposableStack();
  const libc = undo.adopt(Deno.dlopen("libc.so.6", SYMBOLS), (library) => library.close());
  if (libc.symbols.unshare(CLONE_NEWNET) !== 0) {
    const code = errno();
    throw new OpError("make", "a network namespace to try the kernel in", {
      code: ErrorCode.kernel,
      errno: code,
      kernel: errnoText(code),
      advice: "Run as root (CAP_SYS_ADMIN)",
    });
  }
  return work();
}

/** A feature that was tried; `refused`: the kernel's words. */
export interface Tried {
  readonly name: string;
  readonly refused?: string;
}

const where = "host";

/** What a pod network is made of. */
const LINKS: readonly Fact[] = [
  { kind: "link", where, name: "try-vxlan", driver: { kind: "vxlan", vni: 1, port: 8472 } },
  { kind: "link", where, name: "try-bridge", driver: { kind: "bridge" } },
  { kind: "link", where, name: "try-veth", driver: { kind: "veth", peer: "try-peer" } },
];

/** What backends need beside that. */
const BACKEND_LINKS: Readonly<Record<string, Fact>> = {
  wireguard: { kind: "link", where, name: "try-wireguard", driver: { kind: "wireguard" } },
  ipip: { kind: "link", where, name: "try-ipip", driver: { kind: "ipip", anyPeer: true } },
};

const TABLE = `table inet try {
	chain c {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.0.0.0/8 masquerade fully-random
	}
}
`;

/**
 * Tries them all. The kernel may load modules for it, as it would for the daemon.
 *
 * @param backend the network's, where it is known.
 * @throws {OpError}
 */
export function tryFeatures(backend?: string): Tried[] {
  return inScratch(() => {
    using kernel = Kernel.open();
    const more = backend === undefined ? undefined : BACKEND_LINKS[backend];
    const wanted = more === undefined ? LINKS : [...LINKS, more];
    const links = kernel.apply(wanted.map((fact) => ({ op: "put", fact }))).map(
      ({ change, error }) => {
        const { fact } = change;
        const name = fact.kind === "link" ? fact.driver.kind : fact.kind;
        return { name, ...(error === undefined ? {} : { refused: error.kernel ?? error.message }) };
      },
    );
    return [...links, tryRules()];
  });
}

function tryRules(): Tried {
  try {
    replaceTable("inet try", TABLE);
    return { name: "nft" };
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
    return { name: "nft", refused: e.kernel ?? e.message };
  }
}
