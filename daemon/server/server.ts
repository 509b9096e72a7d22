/**
 * The plugins' server: the same plugin code that a process of its own would run, kept warm. The
 * client (cni/client) asks over a socket, and does the work itself whenever we do not answer.
 *
 * Whatever could be refused is refused before the work is accepted; from then on the call is ours,
 * and its ADD keeps a record by which another process can take it over (cni/operation.ts). Pods are
 * served side by side, calls of one pod one after the other. The plugin code is synchronous where it
 * enters a namespace, so no call ever sees another one's.
 *
 * @module
 */

import { CniError } from "../../cni/errors.ts";
import { isPluginName, type PluginName } from "../../cni/names.ts";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { forgetOperations, Operation } from "../../cni/operation.ts";
import type { Call } from "../../cni/plugin.ts";
import { answer } from "../../cni/skeleton.ts";
import type { PluginStatus } from "../../engine/node_status.ts";
import type { Poller } from "../../ffi/poll.ts";
import { Connection, UnixListener } from "../../ffi/unix_socket.ts";
import { version } from "../../version.ts";
import type { Log } from "../log.ts";
import { identityOf, whyNotElsewhere } from "./elsewhere.ts";
import { Lanes } from "./lanes.ts";
import {
  ACCEPTED,
  type ClientRequest,
  encodeAnswer,
  isElsewhere,
  NOT_ME,
  type Place,
  whyNotMe,
} from "./protocol.ts";
import { Receiver } from "./receiver.ts";

/** Where the client looks for us; the directory is root's alone. */
export const SOCKET_PATH = "/run/twill/cni.sock";

/** Calls that run at once, that wait or run, and connections that still send. */
const MOST = { running: 256, calls: 2048, senders: 512 } as const;
/** How long a client may take to send, or to take its answer, ms. */
const PATIENCE = 5_000;
/** How long a call that runs may take when the daemon ends, ms. */
const LAST_PATIENCE = 2_000;

/** After how many ms no client can take a call over any more: it waits 110 s for its answer. */
const RECORD_AGE = 120_000;

/** What the daemon knows beside the calls; see `Call`. */
export type Knowledge = Pick<Call, "admit" | "notReady">;

/** Serves until disposed. */
export class PluginServer implements AsyncDisposable {
  readonly #log: Log;
  readonly #poller: Poller;
  readonly #knowledge: Knowledge;
  readonly #own: { readonly build: string; readonly place: Place };
  readonly #lanes = new Lanes(MOST.running);
  readonly #receivers = new Set<Receiver>();
  readonly #listener: UnixListener;
  readonly #watch: Disposable;
  readonly #left = new Map<string, number>();
  readonly #cleaning: ReturnType<typeof setTimeout>;
  readonly #unable = whyUnable();
  #served = 0;
  #lastServed: number | undefined;

  /**
   * @param knowledge goes with every call.
   * @throws {OpError} when the socket cannot be made.
   */
  constructor(
    poller: Poller,
    log: Log,
    path: string = SOCKET_PATH,
    knowledge: Knowledge = {},
  ) {
    this.#poller = poller;
    this.#knowledge = knowledge;
    this.#log = log;
    this.#own = { build: version().build, place: ownPlace() };
    forgetOperations(RECORD_AGE);
    using undo = new DisposableStack();
    this.#listener = undo.use(new UnixListener(path));
    this.#watch = poller.watch(this.#listener.fd, () => this.#accept());
    undo.move();
    if (this.#unable !== undefined) {
      log.warn("Plugin calls are left to their clients", { reason: this.#unable });
      // The status tells it before the first call.
      this.#left.set(this.#unable, 0);
    }
    this.#cleaning = setTimeout(() => forgetOperations(RECORD_AGE), RECORD_AGE + PATIENCE);
  }

  /** What became of the calls so far. */
  status(): PluginStatus {
    return {
      listening: true,
      served: this.#served,
      ...(this.#lastServed === undefined ? {} : { lastServed: this.#lastServed }),
      left: Object.fromEntries(this.#left),
    };
  }

  #accept(): void {
    for (;;) {
      const connection = this.#listener.accept();
      if (connection === undefined) return;
      const full = this.#receivers.size >= MOST.senders || this.#lanes.size >= MOST.calls;
      if (full || connection.peerUid() !== 0) {
        this.#leave(full ? "too many at once" : "not root");
        refuse(connection);
        continue;
      }
      const receiver = new Receiver(this.#poller, connection, PATIENCE, (request) => {
        this.#receivers.delete(receiver);
        this.#judge(connection, request);
      });
      this.#receivers.add(receiver);
      // What the client has sent is there already, as a rule.
      receiver.look();
    }
  }

  #judge(connection: Connection, request: ClientRequest | undefined): void {
    const plugin = request?.plugin;
    const reason = request === undefined
      ? "no request"
      : this.#unable ?? whyNotMe(request, this.#own, whyNotElsewhere);
    if (request === undefined || reason !== undefined || !isPluginName(plugin)) {
      this.#log.debug("Plugin call left to its client", { reason, plugin });
      this.#leave(reason ?? "no plugin of ours");
      refuse(connection);
      return;
    }
    this.#lanes.add({
      lane: request.env.CNI_CONTAINERID ?? "",
      start: () => this.#serve(connection, plugin, request),
      refuse: () => refuse(connection),
    });
  }

  #leave(reason: string): void {
    this.#left.set(reason, (this.#left.get(reason) ?? 0) + 1);
  }

  async #serve(connection: Connection, type: PluginName, request: ClientRequest): Promise<void> {
    using _closed = connection;
    // A client that has gone did not hear it: then nothing is done.
    if (connection.send(ACCEPTED) !== ACCEPTED.length) return;
    let left = false;
    const mayStart = (target: string): void => {
      left = true;
      throw new CniError(ErrorCode.tryAgain, `${target} must be started by the caller`);
    };
    try {
      using operation = new Operation(request.call);
      const lines: string[] = [];
      const { status, stdout } = await answer({
        type,
        env: (name) => request.env[name],
        childEnv: { ...request.env, TWILL_DIRECT: "1" },
        stdin: () => request.stdin,
        log: (line) => lines.push(`${line}\n`),
        mayBlock: false,
        operation,
        ...this.#knowledge,
        ...(isElsewhere(request, this.#own.place) && { mayStart }),
      });
      // As if we had ended: the client takes over, with the record of what was begun.
      if (left) {
        this.#leave("an external plugin in another mount namespace");
        return;
      }
      const sent = await sendAll(connection, encodeAnswer(status, stdout, lines.join("")));
      this.#served++;
      this.#lastServed = Date.now();
      // Otherwise the client takes over, and needs the record.
      if (sent) operation.done();
    } catch (e) {
      this.#log.warn("Plugin call failed", { reason: messageOf(e) });
    }
  }

  /** Refuses what has not begun; waits for what has, but not for ever. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#cleaning);
    this.#watch[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
    for (const receiver of [...this.#receivers]) receiver.giveUp();
    await this.#lanes.close(LAST_PATIENCE);
  }
}

/**
 * The server; undefined, and a line in the log, when it cannot be: plugins then work without.
 */
export function servePlugins(
  poller: Poller,
  log: Log,
  knowledge: Knowledge,
): PluginServer | undefined {
  try {
    const server = new PluginServer(poller, log, SOCKET_PATH, knowledge);
    log.info(`Serving plugins on ${SOCKET_PATH}`);
    return server;
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
    log.warn("Plugins are not served; each call starts a process", { reason: e.message });
    return undefined;
  }
}

function ownPlace(): Place {
  return {
    netns: identityOf("/proc/self/ns/net"),
    mntns: identityOf("/proc/self/ns/mnt"),
    root: identityOf("/"),
    cwd: identityOf("."),
  };
}

/** Why this process can serve no plugin at all; undefined when it can. */
function whyUnable(): string | undefined {
  const status = Deno.readTextFileSync("/proc/self/status");
  const [, mask = "0"] = /^CapEff:\t([0-9a-f]+)$/m.exec(status) ?? [];
  return (BigInt(`0x${mask}`) >> CAP_SYS_ADMIN & 1n) === 1n
    ? undefined
    : "the daemon may not enter namespaces of pods (no CAP_SYS_ADMIN)";
}

/** linux/capability.h. */
const CAP_SYS_ADMIN = 21n;

function refuse(connection: Connection): void {
  using _closed = connection;
  connection.send(NOT_ME);
}

/** Sends all of it. Returns false when the other end is gone, or does not read. */
async function sendAll(connection: Connection, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const deadline = performance.now() + PATIENCE;
  for (let at = 0, pause = 1; at < bytes.length;) {
    const n = connection.send(bytes.subarray(at));
    if (n === undefined) return false;
    at += n;
    if (n > 0) continue;
    // Only an answer larger than the socket's buffer gets here.
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(2 * pause, 50);
  }
  return true;
}
