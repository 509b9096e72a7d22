/** The plugins' client against daemons that behave and daemons that do not. */

import assert from "node:assert/strict";
import { ClientProgram, type Run } from "./client_program.ts";

/** What a daemon does with a connection. */
type Daemon = (connection: Deno.UnixConn) => Promise<void>;

const text = new TextEncoder();

function numbers(...values: number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array(values).buffer);
}

/** A whole answer. */
function answer(status: number, stdout: string, stderr = ""): Uint8Array<ArrayBuffer> {
  const [out, err] = [text.encode(stdout), text.encode(stderr)];
  return new Uint8Array([
    ...text.encode("A"),
    ...numbers(status, out.length, err.length),
    ...out,
    ...err,
  ]);
}

async function readAll(connection: Deno.UnixConn, length: number): Promise<Uint8Array> {
  const all = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const n = await connection.read(all.subarray(at));
    if (n === null) throw new Error(`the request ended after ${at} bytes`);
    at += n;
  }
  return all;
}

/** Reads a whole request: the strings of its header, and stdin. */
async function readRequest(
  connection: Deno.UnixConn,
): Promise<{ readonly own: string[]; readonly env: string[]; readonly stdin: string }> {
  const prefix = await readAll(connection, 12);
  assert.equal(new TextDecoder().decode(prefix.subarray(0, 4)), "TWL1");
  const view = new DataView(prefix.buffer);
  const header = new TextDecoder().decode(await readAll(connection, view.getUint32(4, true)));
  const stdin = new TextDecoder().decode(await readAll(connection, view.getUint32(8, true)));
  const [own = "", env = ""] = header.split("\0\0");
  return { own: own.split("\0"), env: env.split("\0").filter((one) => one !== ""), stdin };
}

async function write(connection: Deno.UnixConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Runs the client against a daemon that serves one connection. */
async function against(
  daemon: Daemon,
  run: (program: ClientProgram) => Promise<Run> = (program) => program.run("config"),
): Promise<Run> {
  using program = new ClientProgram();
  const listener = Deno.listen({ transport: "unix", path: program.socket });
  const serve = async (): Promise<void> => {
    const connection = await listener.accept();
    try {
      await daemon(connection);
    } catch {
      // The client has hung up.
    } finally {
      connection.close();
    }
  };
  const serving = serve().catch(() => {});
  try {
    return await run(program);
  } finally {
    listener.close();
    await serving;
  }
}

Deno.test("client: sends what it was started with, prints what it is told", async () => {
  let seen: Awaited<ReturnType<typeof readRequest>> | undefined;
  const run = await against(async (connection) => {
    seen = await readRequest(connection);
    await write(connection, answer(3, "out\n", "err\n"));
  }, (program) => program.run("config", { CNI_NETNS: "/proc/self/ns/net" }));
  assert.deepEqual([run.status, run.stdout, run.stderr], [3, "out\n", "err\n"]);
  assert.equal(seen?.stdin, "config");
  assert.ok(seen?.env.includes("CNI_COMMAND=ADD"), String(seen?.env));
  const own = seen.own.map((one) => one.replace(/\d+:\d+|[0-9a-f]{32}/, "…"));
  // A node need not have these.
  const files = own.splice(own.findIndex((one) => one.startsWith("state=")));
  assert.deepEqual(files.map((one) => one.split("=")[0]), ["state", "records", "subnet"]);
  assert.deepEqual(own, [
    "plugin=flannel",
    "build=test",
    "call=…",
    "netns=…",
    "mntns=…",
    "root=…",
    "cwd=…",
    "self=…",
    "pod=…",
  ]);
  const { dev, ino } = Deno.statSync("/proc/self/ns/net");
  for (const name of ["netns", "pod"]) assert.ok(seen.own.includes(`${name}=${dev}:${ino}`));
});

Deno.test("client: a document of 3 MiB arrives whole, an answer of 1 MiB too", async () => {
  const large = "x".repeat(3 << 20);
  let length = 0;
  const run = await against(async (connection) => {
    length = (await readRequest(connection)).stdin.length;
    await write(connection, answer(0, "y".repeat(1 << 20)));
  }, (program) => program.run(large));
  assert.equal(length, large.length);
  assert.deepEqual([run.status, run.stdout.length], [0, 1 << 20]);
});

Deno.test("client: for VERSION stdin is not read", async () => {
  const run = await against(async (connection) => {
    assert.equal((await readRequest(connection)).stdin, "");
    await write(connection, answer(0, "versions"));
  }, (program) => program.run("ignored", { CNI_COMMAND: "VERSION" }));
  assert.equal(run.stdout, "versions");
});

/** What the stand-in tells when nothing, or something, may have begun. */
const PLAIN = "fallback|flannel||6|config";
const RESUMED = "fallback|flannel|resume|6|config";

const HOSTILE: readonly (readonly [name: string, daemon: Daemon, want: string])[] = [
  ["closes at once", () => Promise.resolve(), PLAIN],
  ["reads a little, then closes", async (c) => void await readAll(c, 5), PLAIN],
  ["reads all, then closes", async (c) => void await readRequest(c), PLAIN],
  ["says N", async (c) => (await readRequest(c), await write(c, text.encode("N"))), PLAIN],
  ["says N before it has read", (c) => write(c, text.encode("N")), PLAIN],
  ["says garbage", (c) => write(c, text.encode("HTTP/1.1 400\r\n\r\n")), PLAIN],
  ["accepts, then closes", async (c) => {
    await readRequest(c);
    await write(c, text.encode("A"));
  }, RESUMED],
  ["accepts, then closes in the middle of the head", async (c) => {
    await readRequest(c);
    await write(c, answer(0, "out").subarray(0, 6));
  }, RESUMED],
  ["accepts, then closes in the middle of the answer", async (c) => {
    await readRequest(c);
    await write(c, answer(0, "a long answer").subarray(0, 18));
  }, RESUMED],
  ["promises 4 GiB", async (c) => {
    await readRequest(c);
    await write(c, new Uint8Array([65, ...numbers(0, 0xffff_ffff, 0)]));
  }, RESUMED],
  ["promises 4 GiB of log", async (c) => {
    await readRequest(c);
    await write(c, new Uint8Array([65, ...numbers(0, 0, 0xffff_ffff)]));
  }, RESUMED],
  ["tells a status that is none", async (c) => {
    await readRequest(c);
    await write(c, new Uint8Array([65, ...numbers(256, 0, 0)]));
  }, RESUMED],
  ["never accepts", async (c) => {
    await readRequest(c);
    await c.read(new Uint8Array(1));
  }, PLAIN],
  ["accepts, and never answers", async (c) => {
    await readRequest(c);
    await write(c, text.encode("A"));
    await c.read(new Uint8Array(1));
  }, RESUMED],
];

for (const [name, daemon, want] of HOSTILE) {
  Deno.test(`client: a daemon that ${name}`, async () => {
    const run = await against(daemon);
    assert.deepEqual([run.status, run.stdout], [7, want]);
    assert.equal(run.stderr, "from the stand-in\n");
    assert.ok(run.took < 5_000, `${run.took} ms`);
  });
}

Deno.test("client: a daemon that answers byte by byte is understood", async () => {
  const run = await against(async (connection) => {
    await readRequest(connection);
    for (const byte of answer(4, "out", "err")) {
      await write(connection, new Uint8Array([byte]));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  assert.deepEqual([run.status, run.stdout, run.stderr], [4, "out", "err"]);
});

Deno.test("client: random bytes for an answer never hang it and never reach stdout", async () => {
  for (let n = 0; n < 20; n++) {
    const bytes = crypto.getRandomValues(new Uint8Array(1 + n * 3));
    const run = await against(async (connection) => {
      await readRequest(connection);
      await write(connection, bytes);
    });
    assert.match(run.stdout, /^fallback\|flannel\|(?:resume)?\|6\|config$/, bytes.toString());
  }
});

Deno.test("client: without a daemon the full program gets name, environment and stdin", async () => {
  using program = new ClientProgram();
  assert.equal((await program.run("config")).stdout, PLAIN);
  Deno.writeTextFileSync(program.socket, "no socket");
  assert.equal((await program.run("config")).stdout, PLAIN);
  const large = await program.run("z".repeat(17 << 20));
  assert.equal(large.stdout, `fallback|flannel||${17 << 20}|${"z".repeat(20)}`);
});

for (const [name, value] of [["TWILL_DIRECT", "1"], ["TWILL_RESUME", "0123"]] as const) {
  Deno.test(`client: ${name} is set: no daemon is asked`, async () => {
    let asked = false;
    using program = new ClientProgram();
    const listener = Deno.listen({ transport: "unix", path: program.socket });
    const accepting = listener.accept().then((c) => (asked = true, c.close()), () => {});
    const run = await program.run("config", { [name]: value });
    listener.close();
    await accepting;
    assert.equal(run.stdout, name === "TWILL_RESUME" ? RESUMED : PLAIN);
    assert.equal(asked, false);
  });
}

Deno.test("client: an error object where twill is missing", async () => {
  using program = new ClientProgram();
  Deno.removeSync(`${program.dir}/twill`);
  const run = await program.run("config");
  assert.equal(run.status, 1);
  assert.equal(JSON.parse(run.stdout).code, 102);
});
