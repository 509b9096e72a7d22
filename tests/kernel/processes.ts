/**
 * Which processes there are: of this pid namespace, which `tools/isolate` makes.
 *
 * @module
 */

/** A process as `/proc/PID/stat` tells it. */
interface Process {
  readonly pid: number;
  readonly parent: number;
  /** One letter; `Z` has ended. */
  readonly state: string;
}

function processes(): Process[] {
  return [...Deno.readDirSync("/proc")].filter(({ name }) => /^\d+$/.test(name)).flatMap(
    ({ name }) => {
      try {
        const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
        // The name of the program stands in parentheses and may hold anything.
        const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return [{ pid: Number(name), parent: Number(parent), state }];
      } catch {
        return [];
      }
    },
  );
}

/**
 * Kills a process, with signal 9 and where it stands. Stopped before, it starts nothing while we
 * look.
 *
 * @returns The processes that it had started, which go on without it.
 */
export function killWhole(child: Deno.ChildProcess): readonly number[] {
  try {
    child.kill("SIGSTOP");
    const deadline = performance.now() + 100;
    const state = (): string | undefined => processes().find(({ pid }) => pid === child.pid)?.state;
    while (state() !== "T" && performance.now() < deadline);
    const found = descendants(child.pid);
    child.kill("SIGKILL");
    return found;
  } catch {
    return []; // it has ended in this very moment
  }
}

/** The processes that a process started, and those that they started. */
function descendants(pid: number): number[] {
  const all = processes();
  const found = [pid];
  for (const ancestor of found) {
    found.push(...all.filter(({ parent }) => parent === ancestor).map((one) => one.pid));
  }
  return found.slice(1);
}

/** Waits until these have ended. @throws {Error} when some are there after ten seconds */
export async function ended(pids: readonly number[]): Promise<void> {
  const deadline = performance.now() + 10_000;
  const there = (): number[] =>
    pids.length === 0
      ? []
      : processes().filter(({ pid, state }) => pids.includes(pid) && state !== "Z")
        .map(({ pid }) => pid);
  for (let left = there(); left.length > 0; left = there()) {
    if (performance.now() > deadline) throw new Error(`still running: ${left.join(", ")}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The processes whose command line has this word in it. */
export function stragglers(word: string): number[] {
  return processes().filter(({ pid, state }) => {
    if (state === "Z" || pid === Deno.pid) return false;
    try {
      return Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(word);
    } catch {
      return false;
    }
  }).map(({ pid }) => pid);
}
