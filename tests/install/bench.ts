/**
 * A node that is only a directory, and the two commands on it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { runInstall } from "../../install/app.ts";
import type { InstallContext } from "../../install/context.ts";
import { CLIENT_MARK } from "../../install/layout.ts";

/** What stands for the plugins' client. */
export const CLIENT = `a client, with the words "${CLIENT_MARK}"`;

/** What a command left. */
export interface Left {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The tree, and the file that stands for the compiled program; gone when disposed. */
export class Tree implements Disposable {
  readonly root: string = Deno.makeTempDirSync({ prefix: "twill-install-" });
  /** Outside the tree, as in real life. */
  readonly program: string = Deno.makeTempFileSync({ prefix: "twill-program-" });

  constructor() {
    Deno.writeTextFileSync(this.program, "the program, version 1");
  }

  /** Runs a command on the tree; words behind `--` are the daemon's. */
  async run(command: string, ...args: readonly string[]): Promise<Left> {
    return await this.runOn({}, command, `--root=${this.root}`, ...args);
  }

  /** The same with another context, and without `--root`; an empty `program` is none. */
  async runOn(other: Partial<InstallContext>, ...words: readonly string[]): Promise<Left> {
    const split = words.indexOf("--");
    const { program = this.program, ...rest } = other;
    let [stdout, stderr] = ["", ""];
    const context: InstallContext = {
      process: {
        stdout: { write: (text) => void (stdout += text) },
        stderr: { write: (text) => void (stderr += text) },
      },
      uid: 0,
      ...(program === "" ? {} : { program }),
      client: new TextEncoder().encode(CLIENT),
      version: "twill 0.0.0",
      ...(split < 0 ? {} : { behind: words.slice(split + 1) }),
      open: () => Promise.reject(new assert.AssertionError({ message: "opened the kernel" })),
      processes: () => assert.fail("looked at processes"),
      run: (program) => assert.fail(`ran ${program}`),
      feed: (program) => assert.fail(`ran ${program}`),
      ...rest,
    };
    const code = await runInstall(split < 0 ? words : words.slice(0, split), context);
    return { code, stdout, stderr };
  }

  /** A path of the node. */
  at(path: string): string {
    return `${this.root}${path}`;
  }

  /** Writes a file, and the directories above it. */
  write(path: string, text: string, mode = 0o644): void {
    Deno.mkdirSync(this.at(path.slice(0, path.lastIndexOf("/"))), { recursive: true });
    Deno.writeTextFileSync(this.at(path), text);
    Deno.chmodSync(this.at(path), mode);
  }

  read(path: string): string {
    return Deno.readTextFileSync(this.at(path));
  }

  /** All that there is, one line each: path, rights, content. */
  list(): string[] {
    const lines: string[] = [];
    const walk = (dir: string): void => {
      for (const { name } of Deno.readDirSync(this.at(dir))) {
        const path = `${dir}/${name}`;
        const { isSymlink, isDirectory, mode } = Deno.lstatSync(this.at(path));
        const rights = ((mode ?? 0) % 0o1000).toString(8);
        if (isSymlink) lines.push(`${path} -> ${Deno.readLinkSync(this.at(path))}`);
        else if (isDirectory) {
          lines.push(`${path}/ ${rights}`);
          walk(path);
        } else lines.push(`${path} ${rights} ${JSON.stringify(this.read(path))}`);
      }
    };
    walk("");
    return lines.sort();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.root, { recursive: true });
    Deno.removeSync(this.program);
  }
}

/** Asserts success, with nothing to complain about unless told what. */
export function fine({ code, stdout, stderr }: Left, complaint?: RegExp): string {
  if (complaint === undefined) assert.equal(stderr, "");
  else assert.match(stderr, complaint);
  assert.equal(code, 0, stdout);
  return stdout;
}
