/**
 * Virtual machines for kernels that this machine does not have: Debian's cloud kernel in qemu, in
 * software, so that neither hardware nor rights are needed. Two of them can be joined by a cable.
 * A start takes some five seconds on a quiet machine.
 *
 * @module
 */

import { until } from "../command.ts";
import { kernelVersion } from "./archive.ts";

/** What a script left when it ended. */
export interface Ran {
  readonly code: number;
  /** stdout and stderr, as they came. */
  readonly text: string;
}

/** How a machine is made. */
export interface MachineOptions {
  readonly name: string;
  readonly packages: string;
  readonly archive: string;
  /** A path for the cable's socket; the first machine that names it waits for the second. */
  readonly cable: { readonly path: string; readonly end: "first" | "second" };
  /** MiB. */
  readonly memory?: number;
}

/** How long a start may take, ms: ten times what it takes. */
const START = 120_000;

/** A machine that runs. */
export class Machine implements AsyncDisposable {
  readonly name: string;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string, undefined>;

  private constructor(name: string, child: Deno.ChildProcess) {
    this.name = name;
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#lines = linesOf(child.stdout)[Symbol.asyncIterator]();
  }

  /** Starts a machine, and waits until it takes scripts. */
  static async start(options: MachineOptions): Promise<Machine> {
    const { packages, cable } = options;
    const [server, mac] = cable.end === "first" ? ["on", "01"] : ["off", "02"];
    if (cable.end === "second") await until("the cable is there", () => exists(cable.path));
    // A test that is killed takes its machines with it.
    const child = new Deno.Command("setpriv", {
      args: [
        ...["--pdeathsig", "KILL", "qemu-system-x86_64"],
        ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
        ...["-accel", "tcg", "-cpu", "max", "-m", `${options.memory ?? 1024}`],
        ...["-kernel", `${packages}/boot/vmlinuz-${kernelVersion(packages)}`],
        ...["-initrd", options.archive],
        ...["-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on"],
        ...["-serial", `file:${options.archive}.${options.name}.log`, "-serial", "stdio"],
        "-netdev",
        `stream,id=cable,server=${server},addr.type=unix,addr.path=${cable.path}`,
        ...["-device", `virtio-net-pci,netdev=cable,mac=52:54:00:00:00:${mac}`],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const machine = new Machine(options.name, child);
    try {
      await machine.#expect((line) => line.endsWith("ready"), START);
    } catch (cause) {
      const log = `${options.archive}.${options.name}.log`;
      await machine[Symbol.asyncDispose]();
      const told = Deno.readTextFileSync(log).slice(-2000);
      throw new Error(`Machine ${options.name} did not start: ${told}`, { cause });
    }
    return machine;
  }

  /** Runs a script of the shell; any exit status is a result. */
  async run(script: string, seconds = 120): Promise<Ran> {
    // busybox's shell would take its own ip, which knows no namespaces.
    const bytes = new TextEncoder().encode(`ip() { /bin/ip "$@"; }\n${script}`);
    await this.#input.write(new TextEncoder().encode(`${bytes.toBase64()}\n`));
    const line = await this.#expect((line) => /^\d+ /.test(line), seconds * 1000);
    const [code = "", text = ""] = line.split(" ");
    return {
      code: Number(code),
      text: new TextDecoder().decode(Uint8Array.fromBase64(text.trim())),
    };
  }

  /** Runs a script that must succeed, and returns what it printed. */
  async must(script: string, seconds?: number): Promise<string> {
    const { code, text } = await this.run(script, seconds);
    if (code !== 0) throw new Error(`${this.name}: exit status ${code} of: ${script}\n${text}`);
    return text;
  }

  /** Starts a program that goes on, with its output in `/tmp/NAME.log`. */
  async start(name: string, command: string): Promise<void> {
    await this.must(`${command} >>/tmp/${name}.log 2>&1 & echo $! >/tmp/${name}.pid`);
  }

  /** Ends a program that was started; the signal is `TERM` or `KILL`. */
  async stop(name: string, signal = "TERM"): Promise<void> {
    await this.must(
      `kill -${signal} $(cat /tmp/${name}.pid); ` +
        `while kill -0 $(cat /tmp/${name}.pid) 2>/dev/null; do sleep 0.1; done`,
    );
  }

  async #expect(fits: (line: string) => boolean, patience: number): Promise<string> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.name} does not answer`)), patience);
    });
    try {
      for (;;) {
        const next = await Promise.race([this.#lines.next(), late]);
        if (next.done) throw new Error(`${this.name} has ended`);
        if (fits(next.value)) return next.value;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    await this.#input.abort().catch(() => {});
    await this.#lines.return?.().catch(() => {});
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  return undefined;
}

function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}
