/**
 * What the files of a store hold, remembered from one call to the next: a node has some hundred
 * pods, and each call would read the file of each.
 *
 * Only names that are in the directory now are asked for, and only while nobody else has changed
 * the directory since our last call. Its time of change is coarse (a tick of the kernel), so what
 * is remembered may be wrong about an address that another program gave back and took again in the
 * same tick as our last call: whoever deletes must look into the file.
 *
 * @module
 */

/** Stores that are remembered; one for each network. */
const MOST = 16;

/** By directory. */
const remembered = new Map<string, Memory>();

interface Memory {
  /** Identity and time of change of the directory. */
  readonly state: string;
  readonly texts: ReadonlyMap<string, string>;
}

/** The texts by file name, as our last call left them; none when anybody changed the directory. */
export function recall(dir: string): ReadonlyMap<string, string> {
  const memory = remembered.get(dir);
  return memory !== undefined && memory.state === stateOf(dir) ? memory.texts : new Map();
}

/** Remembers the texts by file name. Call it while the store is locked. */
export function remember(dir: string, texts: ReadonlyMap<string, string>): void {
  if (remembered.size >= MOST) remembered.clear();
  const state = stateOf(dir);
  if (state !== undefined) remembered.set(dir, { state, texts });
}

function stateOf(dir: string): string | undefined {
  try {
    const { dev, ino, mtime, ctime } = Deno.statSync(dir);
    return [dev, ino, mtime?.getTime(), ctime?.getTime()].join(" ");
  } catch {
    return undefined;
  }
}
