/**
 * Which plugin files are this very program, so that a call of them can stay inside the process:
 * the binary under another name, or a copy of the client that it carries.
 *
 * @module
 */

/** The client has some KiB; nothing larger is read. */
const LARGEST_CLIENT = 64 << 10;
/** How many files are remembered, before all of them are looked at again. */
const MOST = 64;

/** By device, inode, size and time of the last change: whether the file holds the client. */
const judged = new Map<string, boolean>();

/** This program's file as it was when it was first asked for: an update puts another one there. */
let own: Deno.FileInfo | undefined;

/** The client that the build has put into the binary; undefined where there is none. */
export function clientBytes(): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Deno.readFileSync(new URL("../dist/embed/cni_client", import.meta.url));
  } catch {
    return undefined;
  }
}

/** True when executing the file would come back to this program. @param info its own */
export function isOurs(path: string, info: Deno.FileInfo): boolean {
  try {
    own ??= Deno.statSync(Deno.execPath());
    if (info.dev === own.dev && info.ino === own.ino) return true;
    if (info.size > LARGEST_CLIENT) return false;
    const key = [info.dev, info.ino, info.size, info.mtime?.getTime()].join(" ");
    const known = judged.get(key);
    if (known !== undefined) return known;
    if (judged.size >= MOST) judged.clear();
    const is = holdsClient(path);
    judged.set(key, is);
    return is;
  } catch {
    return false;
  }
}

function holdsClient(path: string): boolean {
  const client = clientBytes();
  const bytes = Deno.readFileSync(path);
  return client !== undefined && bytes.length === client.length &&
    bytes.every((byte, at) => byte === client[at]);
}
