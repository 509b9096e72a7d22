/**
 * What `--watch` waits for: the kernel's own news, and files that others write.
 *
 * @module
 */

import { KernelEvents } from "../ffi/events.ts";
import { Poller } from "../ffi/poll.ts";

/** A change of the world is a burst of events; it is told when they pause this long, ms. */
const SETTLE = 100;

/**
 * One as soon as it listens, then one for each burst of changes.
 *
 * @param paths files and directories; those that do not exist are not watched.
 * @param privileged rule tables are heard too, which the kernel allows to CAP_NET_ADMIN only.
 * @throws {OpError} when the kernel cannot be heard.
 */
export async function* changes(
  signal: AbortSignal,
  paths: readonly string[],
  privileged: boolean,
): AsyncGenerator<void, void, undefined> {
  await using poller = new Poller();
  let changed = false;
  let wake = (): void => {};
  const raise = (): void => {
    changed = true;
    wake();
  };
  using _events = new KernelEvents(poller, raise, privileged);
  using _files = watchFiles(paths, raise);
  signal.addEventListener("abort", raise, { once: true });
  if (!signal.aborted) yield;
  while (!signal.aborted) {
    if (!changed) await new Promise<void>((resolve) => wake = resolve);
    while (changed && !signal.aborted) {
      changed = false;
      await pause(SETTLE, signal);
    }
    if (!signal.aborted) yield;
  }
}

function watchFiles(paths: readonly string[], raise: () => void): Disposable {
  const present = paths.filter((path) => {
    try {
      return Deno.statSync(path) !== undefined;
    } catch {
      return false;
    }
  });
  if (present.length === 0) return { [Symbol.dispose]: () => {} };
  const watcher = Deno.watchFs(present);
  (async () => {
    for await (const { kind } of watcher) if (kind !== "access") raise();
  })();
  return { [Symbol.dispose]: () => watcher.close() };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
