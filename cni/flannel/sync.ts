/**
 * Brings records to the disk a moment later, many at once: syncing one takes the disk longer than
 * all the rest of an ADD, and holds up whatever writes to the same file system meanwhile.
 *
 * @module
 */

/** How long a record may wait, ms: what a loss of power may cost. */
const PAUSE = 100;

let waiting: Deno.FsFile[] = [];

/** Syncs the file soon, and closes it. One that has no name any more is only closed. */
export function syncSoon(file: Deno.FsFile): void {
  waiting.push(file);
  if (waiting.length === 1) setTimeout(syncAll, PAUSE);
}

async function syncAll(): Promise<void> {
  const files = waiting;
  waiting = [];
  // One after the other: the first one makes the file system write what the others need too.
  for (const file of files) {
    using _closed = file;
    try {
      if (file.statSync().nlink !== 0) await file.sync();
    } catch {
      // The disk's own trouble: the record stands in memory, and its pod runs.
    }
  }
}
