/**
 * What runs in a pod of the policy tests: serves TCP and UDP on the ports that it is given (an echo),
 * and makes connections as it is told, one JSON document a line.
 *
 * @module
 */

/** A request to an API that only the agent's place reaches. */
export interface HttpTask {
  readonly id: number;
  readonly deed: "http";
  readonly method: string;
  readonly url: string;
  readonly body?: unknown;
  readonly contentType: string;
}

/**
 * A stream of datagrams, `every` so many milliseconds one: each from a socket of its own, a new
 * connection to the kernel, or all from one.
 */
export interface StreamTask {
  readonly id: number;
  readonly deed: "stream";
  readonly name: string;
  readonly ip: string;
  readonly port: number;
  readonly every: number;
  readonly fresh: boolean;
}

/** `count`: ends a stream, and tells its {@link Tally}; `heard`: who has asked here, by address. */
export interface TellTask {
  readonly id: number;
  readonly deed: "count" | "heard";
  readonly name?: string;
}

/** What became of a stream. */
export interface Tally {
  readonly sent: number;
  readonly answered: number;
}

/** A connection that the agent is asked to make. */
export interface Task {
  readonly id: number;
  /**
   * `try`: one connection; `open`, `ask`, `shut`: one that stays, by its name; `push`: a word to
   * everybody who is connected here by TCP.
   */
  readonly deed: "try" | "open" | "ask" | "shut" | "push";
  readonly protocol: "TCP" | "UDP";
  readonly ip: string;
  readonly port: number;
  /** Milliseconds until no answer counts as none. */
  readonly patience: number;
  /** Of a connection that stays. */
  readonly name?: string;
}

/** Whether an answer came. */
export interface Done {
  readonly id: number;
  readonly ok: boolean;
  /** The body of an HTTP answer. */
  readonly text?: string;
}

const WORD = new TextEncoder().encode("hello\n");

const clients = new Set<Deno.TcpConn>();
/** How often each address has asked here. */
const heard = new Map<string, number>();

function hear({ hostname }: Deno.NetAddr): void {
  const address = hostname.replace(/^::ffff:/, "");
  heard.set(address, (heard.get(address) ?? 0) + 1);
}

async function echo(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(1024);
  clients.add(connection);
  hear(connection.remoteAddr);
  try {
    for (;;) {
      const n = await connection.read(buffer);
      if (n === null) break;
      await connection.write(buffer.slice(0, n));
    }
  } catch {
    // The other end is gone.
  } finally {
    clients.delete(connection);
    connection.close();
  }
}

function serve(port: number): void {
  const listener = Deno.listen({ hostname: "::", port });
  void (async () => {
    for await (const connection of listener) void echo(connection);
  })();
  // An IPv6 socket for datagrams takes those of IPv4, too.
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "::", port });
  void (async () => {
    for await (const [bytes, from] of socket) {
      hear(from as Deno.NetAddr);
      await socket.send(bytes, from).catch(() => {});
    }
  })();
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("late")), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A connection: sends a word and waits for it to come back. */
interface Line extends Disposable {
  ask(patience: number): Promise<void>;
}

async function tcp({ ip, port, patience }: Task): Promise<Line> {
  const connecting = Deno.connect({ hostname: ip, port });
  let connection: Deno.TcpConn;
  try {
    connection = await within(patience, connecting);
  } catch (e) {
    // One that comes late is closed, not kept.
    connecting.then((late) => late.close(), () => {});
    throw e;
  }
  return {
    async ask(patience: number): Promise<void> {
      const buffer = new Uint8Array(WORD.length);
      await within(
        patience,
        connection.write(WORD).then(() => connection.read(buffer)).then((n) => {
          if (n === null) throw new Error("closed");
        }),
      );
    },
    [Symbol.dispose]: () => connection.close(),
  };
}

function udp({ ip, port }: Task): Line {
  const hostname = ip.includes(":") ? "::" : "0.0.0.0";
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  return {
    async ask(patience: number): Promise<void> {
      await socket.send(WORD, { transport: "udp", hostname: ip, port });
      await within(patience, socket.receive());
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

const lines = new Map<string, Line>();

async function work(task: Task): Promise<boolean> {
  const { deed, protocol, patience, name = "" } = task;
  const open = (): Promise<Line> | Line => protocol === "TCP" ? tcp(task) : udp(task);
  try {
    switch (deed) {
      case "try": {
        using line = await open();
        await line.ask(patience);
        return true;
      }
      case "open": {
        const line = await open();
        lines.set(name, line);
        await line.ask(patience);
        return true;
      }
      case "ask":
        await lines.get(name)?.ask(patience);
        return lines.has(name);
      case "push":
        for (const client of clients) await client.write(WORD);
        return clients.size > 0;
      case "shut":
        lines.get(name)?.[Symbol.dispose]();
        return lines.delete(name);
    }
  } catch {
    return false;
  }
}

/** How long the answer to the last datagram of a stream may take, ms. */
const GRACE = 3_000;

class Stream {
  #sent = 0;
  #answered = 0;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #open = new Set<Line>();

  constructor(task: StreamTask) {
    const { ip, port, every, fresh } = task;
    const line = (): Line => {
      const made = udp({ ...task, deed: "open", protocol: "UDP", ip, port, patience: GRACE });
      this.#open.add(made);
      return made;
    };
    const shared = fresh ? undefined : line();
    this.#timer = setInterval(() => {
      this.#sent++;
      const own = shared ?? line();
      own.ask(GRACE).then(() => this.#answered++, () => {}).finally(() => {
        if (own !== shared) this.#close(own);
      });
    }, every);
  }

  #close(line: Line): void {
    if (this.#open.delete(line)) line[Symbol.dispose]();
  }

  async end(): Promise<Tally> {
    clearInterval(this.#timer);
    const deadline = performance.now() + GRACE;
    while (this.#answered < this.#sent && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const line of [...this.#open]) this.#close(line);
    return { sent: this.#sent, answered: this.#answered };
  }
}

const streams = new Map<string, Stream>();

async function tell({ deed, name = "" }: TellTask): Promise<Omit<Done, "id">> {
  if (deed === "heard") return { ok: true, text: JSON.stringify(Object.fromEntries(heard)) };
  const tally = await streams.get(name)?.end();
  streams.delete(name);
  return { ok: tally !== undefined, text: JSON.stringify(tally ?? {}) };
}

async function http({ method, url, body, contentType }: HttpTask): Promise<Omit<Done, "id">> {
  try {
    const answer = await fetch(url, {
      method,
      headers: { "content-type": contentType },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { ok: answer.ok, text: await answer.text() };
  } catch (e) {
    return { ok: false, text: String(e) };
  }
}

async function answer(
  task: Task | HttpTask | StreamTask | TellTask,
): Promise<Omit<Done, "id">> {
  switch (task.deed) {
    case "http":
      return await http(task);
    case "stream":
      streams.set(task.name, new Stream(task));
      return { ok: true };
    case "count":
    case "heard":
      return await tell(task);
    default:
      return { ok: await work(task) };
  }
}

async function main(): Promise<void> {
  for (const port of Deno.args.map(Number)) serve(port);
  const print = (value: unknown): void => {
    const bytes = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  };
  print("ready");
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const parts = `${rest}${text}`.split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const task: Task | HttpTask | StreamTask | TellTask = JSON.parse(part);
      void answer(task).then((done) => print({ id: task.id, ...done }));
    }
  }
  Deno.exit(0);
}

if (import.meta.main) await main();
