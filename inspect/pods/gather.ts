/**
 * The impure half of `pods`: reads reservations, the runtime's cache and the kernel; judges nothing.
 *
 * @module
 */

import { OpError } from "../../engine/errors.ts";
import type { InspectContext } from "../context.ts";
import { isAddress, readAttachment, readReservation } from "./cache.ts";
import type { PodPlaces } from "./pods.ts";
import type { Attachment, Namespace, PodSources, PodTools, Reservation } from "./view.ts";

/** Reads all sources. @throws {OpError} when the node's own links cannot be read */
export async function gatherPods(context: InspectContext, flags: PodPlaces): Promise<PodSources> {
  const notes: string[] = [];
  const reservations = readReservations(context, flags.networksDir, notes);
  const attachments = readCache(context, flags.cacheDir, notes);
  const tools = await context.podTools();
  const host = tools.view();
  const entered = context.has("CAP_SYS_ADMIN");
  if (!entered) {
    notes.push("Pods' own interfaces are not looked at: that needs root, or CAP_SYS_ADMIN");
  }
  const paths = entered ? namespacePaths(context, flags.netnsDir, attachments) : [];
  return {
    reservations,
    attachments,
    namespaces: paths.flatMap((path) => look(tools, path)),
    host,
    entered,
    notes,
  };
}

/** Files come and go while they are read. */
function readIfThere(context: InspectContext, path: string): string | undefined {
  try {
    return context.readFile(path);
  } catch (e) {
    if (e instanceof Deno.errors.NotFound || e instanceof Deno.errors.PermissionDenied) {
      return undefined;
    }
    throw e;
  }
}

function namesIn({ list }: InspectContext, dir: string, notes: string[]): string[] {
  try {
    return list(dir);
  } catch (e) {
    if (e instanceof Deno.errors.NotFound || e instanceof Deno.errors.NotADirectory) return [];
    if (!(e instanceof Deno.errors.PermissionDenied)) throw e;
    notes.push(`Cannot read ${dir}: that needs root`);
    return [];
  }
}

function readReservations(
  context: InspectContext,
  dir: string,
  notes: string[],
): Reservation[] {
  return namesIn(context, dir, notes).flatMap((network) =>
    namesIn(context, `${dir}/${network}`, notes).filter(isAddress).flatMap((name) => {
      const text = readIfThere(context, `${dir}/${network}/${name}`);
      return text === undefined ? [] : readReservation(network, name, text) ?? [];
    })
  );
}

function readCache(context: InspectContext, dir: string, notes: string[]): Attachment[] {
  return namesIn(context, dir, notes).flatMap((name) =>
    readAttachment(readIfThere(context, `${dir}/${name}`) ?? "") ?? []
  );
}

/** The namespaces with names, and those that the runtime named; each once. */
function namespacePaths(
  context: InspectContext,
  dir: string,
  attachments: readonly Attachment[],
): string[] {
  const named = namesIn(context, dir, []).map((name) => `${dir}/${name}`);
  const known = new Set(named.map(plain));
  const others = attachments.flatMap(({ netns }) => netns ?? []);
  for (const path of others) {
    if (known.has(plain(path))) continue;
    known.add(plain(path));
    named.push(path);
  }
  return named;
}

/** `/var/run` is `/run`. */
function plain(path: string): string {
  return path.replace(/^\/var\/run\//, "/run/");
}

function look(tools: PodTools, path: string): Namespace[] {
  try {
    return [{ path, links: tools.view(path) }];
  } catch (e) {
    // Gone meanwhile, or no namespace.
    if (!(e instanceof OpError)) throw e;
    return [];
  }
}
