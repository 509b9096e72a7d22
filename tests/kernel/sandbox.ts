/**
 * Network namespaces for kernel tests, and `ip`, `bridge` and `nft` inside them: the oracle that
 * knows nothing of our code.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ErrorCode, OpError } from "../../engine/errors.ts";
import { libc } from "../../ffi/libc.ts";
import { libnl } from "../../ffi/libnl.ts";
import { MemoryFile } from "../../ffi/memory_file.ts";
import { within } from "../../ffi/netns.ts";
import { nftRunner } from "../../ffi/nft.ts";

let count = 0;

/** An empty network namespace, found by name in /run/netns, gone when disposed. */
export class Netns implements Disposable {
  readonly name: string;

  constructor(name = `twill-test-${Deno.pid}-${++count}`) {
    this.name = name;
    run("ip", "netns", "add", name);
  }

  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** Runs a synchronous function in the namespace; what it starts is there too. */
  inside<T>(work: () => T): T {
    return within(this.path, work);
  }

  [Symbol.dispose](): void {
    run("ip", "netns", "del", this.name);
  }
}

/** Runs a program in the calling thread's namespace and returns what it printed. */
export function run(program: string, ...args: readonly string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args: [...args] }).outputSync();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  throw new OpError("run", [program, ...args].join(" "), {
    code: ErrorCode.program,
    kernel: decoder.decode(stderr).trim(),
  });
}

/** Runs commands, one a line, without quotes. */
export function sh(commands: string): void {
  for (const line of commands.split("\n")) {
    const [program, ...args] = line.trim().split(/\s+/);
    if (program) run(program, ...args);
  }
}

/** One object of `ip -j` or `bridge -j`. */
// deno-lint-ignore no-explicit-any -- foreign JSON; each test looks at the few members it names
export type Shown = Record<string, any>;

/** What `ip -d -j …` or `bridge -d -j …` shows. */
export function shown(program: "ip" | "bridge", ...args: readonly string[]): Shown[] {
  const text = run(program, "-d", "-j", ...args);
  // ip prints nothing at all where there is nothing, and empty objects for what a filter hides.
  const found: Shown[] = text.trim() === "" ? [] : JSON.parse(text);
  return found.filter((object) => Object.keys(object).length > 0);
}

/** The open descriptors of this process, by what they are. */
function descriptors(): string[] {
  return Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch {
      return ""; // the descriptor of the very reading
    }
  }).filter((target) => target !== "").map((target) => target.replace(/\d+/g, "N")).sort();
}

/**
 * A test in a new and empty network namespace, where it may do what it likes. It runs as root
 * only, as namespaces want; afterwards as many descriptors are open as before.
 */
export function kernelTest(name: string, work: (host: Netns) => void): void {
  // Libraries stay open for good; those of the first test would count as a leak.
  for (const open of [libc, libnl, nftRunner]) open();
  new MemoryFile("twill-test", new Uint8Array())[Symbol.dispose]();
  Deno.test({
    name: Deno.uid() === 0 ? name : `${name} (not run: needs root)`,
    ignore: Deno.uid() !== 0,
    fn: () => {
      const before = descriptors();
      {
        using host = new Netns();
        host.inside(() => work(host));
      }
      assert.deepEqual(descriptors(), before, "as many open descriptors as before");
    },
  });
}
