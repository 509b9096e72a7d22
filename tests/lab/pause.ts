/**
 * A root directory for containers that do nothing, with one program that waits for ever.
 *
 * @module
 */

import { must } from "./command.ts";
import type { Node } from "./node.ts";

/** On the node: the root is below it. */
export const PAUSE = "/run/pause";

const MAKE_ROOT = String.raw`
mkdir -p "$1/root"
printf '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n' >"$1/pause.c"
gcc -static -O1 -o "$1/root/pause" "$1/pause.c"
`;

/** Makes `/run/pause/root` with the program `pause`. @returns our path of `/run/pause` */
export async function makeRoot(node: Node): Promise<string> {
  const folder = node.path(PAUSE);
  await must(["sh", "-ec", MAKE_ROOT, "sh", folder]);
  return folder;
}
