/**
 * An API server that behaves: versions, pages, watches with bookmarks, history that ends, patches
 * that merge, refusals; and does what a bad network does when it is told to.
 *
 * @module
 */

/** Any object of the API. */
// deno-lint-ignore no-explicit-any
export type Raw = Record<string, any>;

interface Event {
  readonly version: number;
  readonly path: string;
  readonly type: string;
  readonly object: Raw;
}

/** One request that came in. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Headers;
  readonly body: Raw | undefined;
}

const encoder = new TextEncoder();

/** See the module. Collections are named by their path: `/api/v1/nodes`. */
export class FakeApi implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #objects = new Map<string, Map<string, Raw>>();
  readonly #watchers = new Set<(event: Event | undefined) => void>();
  #history: Event[] = [];
  #compacted = 0;
  #version = 100;
  /** All requests, oldest first. */
  readonly seen: Seen[] = [];
  /** `verb resource` pairs that are forbidden: `list nodes`, `patch nodes/status`. */
  readonly forbidden = new Set<string>();
  /** As whom refusals know the client. */
  user = "system:serviceaccount:kube-flannel:flannel";
  /** Asked first; what it returns is the answer. */
  answer: (seen: Seen) => Response | Promise<Response> | undefined = () => undefined;
  /** The only token that is taken; undefined takes all. */
  token: string | undefined;

  constructor(options: Partial<Deno.ServeTcpOptions & Deno.TlsCertifiedKeyPem> = {}) {
    this.#server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      ...options,
      onListen: () => {},
    } as Deno.ServeTcpOptions, (request) => this.#handle(request));
  }

  /** `http://127.0.0.1:PORT` */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  get port(): number {
    return this.#server.addr.port;
  }

  /** How many watches are open. */
  get watches(): number {
    return this.#watchers.size;
  }

  /** The version of the newest change. */
  get version(): string {
    return String(this.#version);
  }

  /** Creates or replaces an object. */
  put(path: string, object: Raw): void {
    const all = this.#of(path);
    const name = nameOf(object);
    const known = all.has(name);
    const stored = structuredClone(object);
    stored.metadata.resourceVersion = String(++this.#version);
    all.set(name, stored);
    this.#tell({
      version: this.#version,
      path,
      type: known ? "MODIFIED" : "ADDED",
      object: stored,
    });
  }

  get(path: string, name: string): Raw | undefined {
    return this.#of(path).get(name);
  }

  /** Changes an object in place. */
  edit(path: string, name: string, change: (object: Raw) => void): void {
    const object = structuredClone(this.#of(path).get(name)!);
    change(object);
    this.put(path, object);
  }

  delete(path: string, name: string): void {
    const object = structuredClone(this.#of(path).get(name)!);
    object.metadata.resourceVersion = String(++this.#version);
    this.#of(path).delete(name);
    this.#tell({ version: this.#version, path, type: "DELETED", object });
  }

  /** Forgets history: watches from an older version are expired. */
  compact(): void {
    this.#compacted = this.#version;
    this.#history = [];
  }

  /** Ends all watches, as a server does at their time. */
  endWatches(): void {
    for (const watcher of [...this.#watchers]) watcher(undefined);
  }

  /** Sends an event to all watches, whatever it is. */
  inject(type: string, object: Raw): void {
    for (const watcher of this.#watchers) {
      watcher({ version: this.#version, path: "", type, object });
    }
  }

  #of(path: string): Map<string, Raw> {
    let all = this.#objects.get(path);
    if (all === undefined) this.#objects.set(path, all = new Map());
    return all;
  }

  #tell(event: Event): void {
    this.#history.push(event);
    for (const watcher of this.#watchers) watcher(event);
  }

  async #handle(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const text = await request.text();
    const seen: Seen = {
      method: request.method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: text === "" ? undefined : JSON.parse(text),
    };
    this.seen.push(seen);
    const prepared = this.answer(seen);
    if (prepared !== undefined) return await prepared;
    const bearer = request.headers.get("authorization");
    if (this.token !== undefined && bearer !== `Bearer ${this.token}`) {
      return status(401, "Unauthorized", "Unauthorized");
    }
    const { collection, name, sub } = this.#parse(seen.path);
    const watch = seen.query.watch !== undefined;
    const verb = { POST: "create", PATCH: "patch" }[seen.method] ??
      (name !== undefined ? "get" : watch ? "watch" : "list");
    const kind = collection.split("/").at(-1)!;
    const resource = sub === undefined ? kind : `${kind}/${sub}`;
    if (this.forbidden.has(`${verb} ${resource}`)) {
      const words =
        `${kind} is forbidden: User "${this.user}" cannot ${verb} resource "${resource}" in API group "" at the cluster scope`;
      return status(403, "Forbidden", words);
    }
    switch (verb) {
      case "list":
        return this.#list(collection, seen);
      case "watch":
        return this.#watch(collection, seen);
      case "create":
        this.put(collection, seen.body!);
        return Response.json(seen.body, { status: 201 });
    }
    const object = this.#of(collection).get(name!);
    if (object === undefined) return status(404, "NotFound", `${kind} "${name}" not found`);
    if (verb === "patch") {
      const merged = structuredClone(object);
      merge(merged, seen.body!);
      this.put(collection, merged);
    }
    return Response.json(this.get(collection, name!));
  }

  /** `/api/v1/nodes/one/status` → collection, name, subresource. */
  #parse(path: string): { collection: string; name?: string; sub?: string } {
    const parts = path.split("/");
    const from = parts[1] === "api" ? 3 : 4;
    const end = parts[from] === "namespaces" && parts.length > from + 2 ? from + 3 : from + 1;
    const [name, sub] = parts.slice(end);
    return {
      collection: parts.slice(0, end).join("/"),
      ...(name !== undefined && { name }),
      ...(sub !== undefined && { sub }),
    };
  }

  #list(path: string, { query }: Seen): Response {
    // As the real one: version 0 is answered whole, from memory.
    const limit = query.resourceVersion === "0" ? Infinity : Number(query.limit ?? Infinity);
    const [version, from] = (query.continue ?? `${this.#version}:0`).split(":").map(Number) as [
      number,
      number,
    ];
    if (version < this.#compacted) return status(410, "Expired", "continue parameter is too old");
    const all = [...this.#of(path).values()];
    const next = from + limit < all.length ? `${version}:${from + limit}` : undefined;
    return Response.json({
      kind: "List",
      apiVersion: "v1",
      metadata: { resourceVersion: String(version), ...(next && { continue: next }) },
      items: all.slice(from, from + limit),
    });
  }

  #watch(path: string, { query }: Seen): Response {
    const from = Number(query.resourceVersion);
    if (from < this.#compacted) return status(410, "Expired", "too old resource version");
    if (from > this.#version) {
      return status(504, "Timeout", "Too large resource version", {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      });
    }
    let stop = (): void => {};
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const send = ({ type, object }: Event): void =>
          controller.enqueue(encoder.encode(`${JSON.stringify({ type, object })}\n`));
        for (const event of this.#history) {
          if (event.path === path && event.version > from) send(event);
        }
        const watcher = (event: Event | undefined): void => {
          if (event === undefined) {
            stop();
            controller.close();
          } else if (event.path === path || event.path === "") send(event);
        };
        stop = () => void this.#watchers.delete(watcher);
        this.#watchers.add(watcher);
      },
      cancel: () => stop(),
    });
    return new Response(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.endWatches();
    await this.#server.shutdown();
  }
}

/** A `Status` that says no. */
export function status(code: number, reason: string, message: string, details?: Raw): Response {
  return Response.json(
    { kind: "Status", status: "Failure", code, reason, message, ...(details && { details }) },
    { status: code },
  );
}

/** What the strategic merge does with members, `null`, and the list of conditions. */
function merge(object: Raw, patch: Raw): void {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete object[key];
    else if (key === "conditions") {
      const list: Raw[] = object[key] ??= [];
      for (const one of value) {
        const at = list.findIndex(({ type }) => type === one.type);
        if (at < 0) list.push(one);
        else Object.assign(list[at]!, one);
      }
    } else if (typeof value === "object" && !Array.isArray(value)) merge(object[key] ??= {}, value);
    else object[key] = value;
  }
}

function nameOf({ metadata }: Raw): string {
  return metadata.namespace === undefined
    ? metadata.name
    : `${metadata.namespace}/${metadata.name}`;
}
