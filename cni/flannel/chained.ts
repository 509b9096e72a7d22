/**
 * Host ports and bandwidth without plugins of their own: when the runtime hands flannel what these
 * are made of (that is: when `capabilities` in flannel's configuration name them), flannel calls
 * their code itself, behind its delegate. One process for each pod instead of three, and one undo
 * stack for all of it.
 *
 * The delegate's document, which flannel keeps, has the runtime's words in it. So DEL takes away
 * what ADD made even when the network's configuration has changed since.
 *
 * @module
 */

import { Fields, type Json, JsonObject, jsonObject } from "../../engine/json.ts";
import { readConfig } from "../errors.ts";
import type { Plugin, Request } from "../plugin.ts";
import { quietlyAsync } from "../quietly.ts";
import { formatResult, type Result } from "../result.ts";
import { NEWEST } from "../versions.ts";

/** A plugin that is served here. */
type Served = "bandwidth" | "portmap";

/** In the order of ADD: a port is open when the limits are there. */
const SERVED: readonly Served[] = ["bandwidth", "portmap"];

/** A plugin that one attachment needs, and what the runtime said. */
interface Part {
  readonly type: Served;
  readonly runtimeConfig: JsonObject;
}

/** What one attachment needs behind flannel's delegate; most need nothing. */
export class Chained {
  readonly #request: Request;
  readonly #parts: readonly Part[];

  /**
   * @param record the delegate's document as ADD has kept it: what it was asked for counts too.
   * @throws {OpError} code 7 when the runtime's words have the wrong form.
   */
  constructor(request: Request, record?: JsonObject) {
    this.#request = request;
    const sources = [request.config, ...(record === undefined ? [] : [new Fields(record)])];
    this.#parts = readConfig("failed to load netconf", () => {
      const said = sources.flatMap((config) => config.fields("runtimeConfig") ?? []);
      return SERVED.flatMap((type): Part[] => {
        const one = said.find((runtime) => asksFor(runtime, type));
        return one === undefined ? [] : [{ type, runtimeConfig: one.source }];
      });
    });
  }

  /** Refuses what {@link add} would refuse, before anything is made. @throws {OpError} code 7 */
  async examine(): Promise<void> {
    for (const part of this.#parts) {
      const request = derive(this.#request, part);
      if (part.type === "portmap") (await import("../portmap/config.ts")).portmapConfig(request);
      else (await import("../bandwidth/config.ts")).bandwidthConfig(request);
    }
  }

  /** Makes all of it. @throws {OpError} and then nothing of it is there */
  async add(result: Result): Promise<Result> {
    await using undo = new AsyncDisposableStack();
    let last = result;
    for (const part of this.#parts) {
      const plugin = await load(part.type);
      const request = derive(this.#request, part, formatResult(last, NEWEST));
      last = await plugin.add(request);
      undo.defer(() => quietlyAsync(request, async () => await plugin.del(request)));
    }
    undo.move();
    return last;
  }

  /** @throws {OpError} when something of it is not there any more */
  async check(): Promise<void> {
    for (const part of this.#parts) {
      const result = formatResult(this.#request.requirePrevResult(), NEWEST);
      await (await load(part.type)).check(derive(this.#request, part, result));
    }
  }

  /** Takes it away, the last first; all of it is tried. @throws {OpError} the first failure */
  async del(): Promise<void> {
    await each(this.#parts.toReversed(), async (part) => {
      await (await load(part.type)).del(derive(this.#request, part));
    });
  }
}

/** Takes away what stale attachments left of any of it. @throws {OpError} the first failure */
export async function collectChained(request: Request): Promise<void> {
  const lists = request.config.source.members.filter(([key]) => key.startsWith("cni.dev/"));
  await each(SERVED, async (type) => {
    const part = { type, runtimeConfig: new JsonObject([]) };
    await (await load(type)).gc(derive(request, part, undefined, lists));
  });
}

/** Does all of the work. @throws the first failure, when all is done */
async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (const item of items) {
    try {
      await work(item);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** A list of no mappings counts as none: some runtimes pass one for each pod. */
function asksFor(runtime: Fields, type: Served): boolean {
  return type === "portmap"
    ? (runtime.list("portMappings") ?? []).length > 0
    : runtime.object("bandwidth") !== undefined;
}

/**
 * Options of portmap that say which back end is meant. Where none does it is nftables, which works
 * inside this process; iptables would be four programs for each pod.
 */
const BACKEND_KEYS = ["backend", "conditionsV4", "conditionsV6", "externalSetMarkChain"] as const;

/** What the other plugin reads: its options in our configuration, and the runtime's words. */
function derive(
  request: Request,
  { type, runtimeConfig }: Part,
  prevResult?: JsonObject,
  more: readonly (readonly [string, Json])[] = [],
): Request {
  const options = type === "portmap" ? request.config.object("portmap") : undefined;
  const own = jsonObject({ name: request.network, cniVersion: NEWEST, runtimeConfig, prevResult });
  const backend: readonly (readonly [string, Json])[] =
    type === "portmap" && !BACKEND_KEYS.some((key) => options?.get(key) !== undefined)
      ? [["backend", "nftables"]]
      : [];
  // Last, since the last of several members counts.
  const members = [...backend, ...options?.members ?? [], ...more, ...own.members];
  return request.derive(new JsonObject(members), NEWEST);
}

/** Literal specifiers, so that the compiler embeds them; most pods need neither. */
async function load(type: Served): Promise<Plugin> {
  return type === "portmap"
    ? (await import("../plugins/portmap.ts")).portmap
    : (await import("../plugins/bandwidth.ts")).bandwidth;
}
