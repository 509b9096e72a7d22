/**
 * Calls plugins as a runtime does: as processes, by their names, and judges what they print.
 *
 * The plugins are symbolic links to the compiled binary: `dist/twill`, or what `TWILL_BIN` names.
 * `TWILL_PLUGIN_DIR` puts another set of plugins under test, to compare.
 *
 * @module
 */

import assert from "node:assert/strict";
import { PLUGIN_NAMES } from "../../cni/names.ts";

/** What a plugin answered. */
export interface Reply {
  /** Exit status. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is wanted of a reply: success, or an error object. */
export type Want =
  | { readonly ok: true }
  | {
    /** `code` of the error object; any of several. Absent: any. */
    readonly code?: number;
    /** What `msg` or `details` must contain. */
    readonly words?: readonly (string | RegExp)[];
  };

/** Environment of a call; undefined unsets what a call has by default. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** One call. */
export interface PluginCall {
  readonly plugin: string;
  /** Where the plugin is; absent: where those under test are. */
  readonly dir?: string;
  /** Document for stdin, or its very text or bytes. Absent: stdin is closed at once. */
  readonly config?: unknown;
  readonly env?: Variables;
}

/** A place to call plugins in: a directory, and namespaces for pods; gone when disposed. */
export class Bench implements Disposable {
  /** A directory of this bench alone. */
  readonly dir: string = Deno.makeTempDirSync({ prefix: "twill-cni-" });
  /** Where the plugins under test are. */
  readonly plugins: string;
  readonly #pods: string[] = [];

  constructor() {
    this.plugins = Deno.env.get("TWILL_PLUGIN_DIR") ?? this.#linkPlugins();
  }

  #linkPlugins(): string {
    const binary = Deno.env.get("TWILL_BIN") ??
      new URL("../../dist/twill", import.meta.url).pathname;
    Deno.statSync(binary);
    const dir = `${this.dir}/bin`;
    Deno.mkdirSync(dir);
    for (const name of PLUGIN_NAMES) Deno.symlinkSync(binary, `${dir}/${name}`);
    return dir;
  }

  /** Makes a network namespace; returns its path. */
  pod(): string {
    const name = `twill-${crypto.randomUUID().slice(0, 8)}`;
    run("ip", "netns", "add", name);
    this.#pods.push(name);
    return `/run/netns/${name}`;
  }

  /** The environment that a call has unless it says otherwise. */
  variables(): Variables {
    return {
      PATH: Deno.env.get("PATH"),
      CNI_CONTAINERID: "c1",
      CNI_NETNS: "/run/netns/c1",
      CNI_IFNAME: "eth0",
      CNI_PATH: this.plugins,
    };
  }

  /** Starts a call. */
  start({ plugin, dir = this.plugins, config, env = {} }: PluginCall): Deno.ChildProcess {
    const all = Object.entries({ ...this.variables(), ...env });
    const child = new Deno.Command(`${dir}/${plugin}`, {
      clearEnv: true,
      env: Object.fromEntries(all.filter((e): e is [string, string] => e[1] !== undefined)),
      stdin: config === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    if (config !== undefined) void feed(child, config);
    return child;
  }

  /** Makes a call and waits for its end. */
  async call(call: PluginCall): Promise<Reply> {
    const { code, stdout, stderr } = await this.start(call).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { status: code, stdout: out ?? "", stderr: err ?? "" };
  }

  [Symbol.dispose](): void {
    for (const name of this.#pods) run("ip", "netns", "delete", name);
    Deno.removeSync(this.dir, { recursive: true });
  }
}

async function feed(child: Deno.ChildProcess, config: unknown): Promise<void> {
  const bytes = config instanceof Uint8Array
    ? config as Uint8Array<ArrayBuffer>
    : new TextEncoder().encode(typeof config === "string" ? config : JSON.stringify(config));
  const writer = child.stdin.getWriter();
  try {
    await writer.write(bytes);
    await writer.close();
  } catch {
    // It ended without reading: some commands do.
  }
}

/** Runs a program that must succeed; returns what it printed. */
export function run(program: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  const text = new TextDecoder();
  assert.ok(success, `${program} ${args.join(" ")}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

/** Judges a reply, as every reply must be, and as this one must be. Returns what was on stdout. */
// deno-lint-ignore no-explicit-any
export function expect(reply: Reply, want: Want): any {
  const shown = JSON.stringify(reply);
  if ("ok" in want) {
    assert.equal(reply.status, 0, shown);
    return reply.stdout === "" ? undefined : JSON.parse(reply.stdout);
  }
  assert.equal(reply.status, 1, shown);
  const error = JSON.parse(reply.stdout);
  assert.equal(typeof error.code, "number", shown);
  assert.ok(error.code > 0, shown);
  assert.ok(typeof error.msg === "string" && error.msg !== "", shown);
  if (want.code !== undefined) assert.ok(sameCode(error.code, want.code), shown);
  const text = `${error.msg}\n${error.details ?? ""}`;
  for (const word of want.words ?? []) {
    assert.ok(
      typeof word === "string" ? text.includes(word) : word.test(text),
      `${word}: ${shown}`,
    );
  }
  return error;
}

/** A configuration that a plugin refuses has code 999 in the reference; 7 says it better. */
function sameCode(code: number, want: number): boolean {
  return code === want || want === 999 && code === 7;
}
