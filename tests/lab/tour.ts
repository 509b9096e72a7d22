/**
 * A walk through the lab that shows what it does: commands as a user would type them, what came
 * back, and what was expected. The demo prints it, the tests keep it for the case of a failure.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import { CommandError } from "./command.ts";
import type { Lab } from "./lab.ts";
import type { Node, Pod } from "./node.ts";
import type { Command, Space } from "./space.ts";

/** How a line is meant; the demo gives each kind its colour. */
export type Kind = "command" | "output" | "note" | "good" | "bad";

/** Takes one line of the walk. */
export type Print = (kind: Kind, line: string) => void;

/** Something is not as it must be; the message says what, wanted and seen. */
export class CheckError extends Error {
  override readonly name = "CheckError";
}

/** A row of the tour. */
export interface Row {
  /** Its number in the list of what users see. */
  readonly number: number;
  readonly title: string;
  readonly run: (tour: Tour) => Promise<void>;
}

/** What the rows share: the lab, the pods so far, where to print. */
export class Tour {
  readonly lab: Lab;
  readonly #print: Print;
  readonly #pods = new Map<string, { node: Node; pod: Pod }>();

  constructor(lab: Lab, print: Print) {
    this.lab = lab;
    this.#print = print;
  }

  /** A sentence between the commands. */
  note(text: string): void {
    this.#print("note", text);
  }

  /** Shows a command without running it. */
  showCommand(place: string, command: Command, comment = ""): void {
    const line = command.map((word) => /[\s*;]/.test(word) ? `'${word}'` : word).join(" ");
    this.#print("command", `${place}# ${line}${comment && `  # ${comment}`}`);
  }

  /** Shows what came back. */
  showOutput(text: string): void {
    const clean = text.trimEnd();
    if (clean !== "") {
      for (const line of clean.split("\n")) {
        this.#print("output", line.trimEnd());
      }
    }
  }

  /**
   * Runs a command that must succeed, and shows both it and what it printed.
   *
   * @returns its stdout
   */
  async run(space: Space, command: Command): Promise<string> {
    this.showCommand(space.name, command);
    const output = await space.exec(command, { env: { NO_COLOR: "1" } });
    this.showOutput(output.stdout);
    if (output.code !== 0) throw new CommandError(command, output);
    return output.stdout;
  }

  /** The same, in a pod. */
  async runInPod(name: string, command: Command): Promise<string> {
    return await this.run(this.node(name), ["ip", "netns", "exec", name, ...command]);
  }

  /** Says what is right; ends the row when it is not. */
  check(what: string, ok: boolean, seen?: unknown): void {
    if (ok) this.#print("good", what);
    else throw new CheckError(seen === undefined ? what : `${what}; seen: ${text(seen)}`);
  }

  /** {@link Tour.check} of a value that is known beforehand. */
  equal(what: string, seen: unknown, wanted: unknown): void {
    const ok = isDeepStrictEqual(seen, wanted);
    this.check(what, ok, ok ? undefined : `${text(seen)}, wanted ${text(wanted)}`);
  }

  /** A pod, made by what a container runtime does. */
  async addPod(node: Node, name: string): Promise<Pod> {
    this.showCommand(node.name, ["ip", "netns", "add", name], "a pod, before it has a network");
    this.note(`the container runtime calls loopback, flannel and portmap with CNI_COMMAND=ADD`);
    const pod = await node.addPod(name);
    this.#pods.set(name, { node, pod });
    return pod;
  }

  /** Takes a pod away, by what a container runtime does. */
  async delPod(name: string): Promise<void> {
    this.note(`the container runtime calls them for "${name}" with CNI_COMMAND=DEL`);
    await this.node(name).delPod(this.pod(name));
    this.#pods.delete(name);
  }

  /** A pod of an earlier row. */
  pod(name: string): Pod {
    return this.#get(name).pod;
  }

  /** Its node. */
  node(name: string): Node {
    return this.#get(name).node;
  }

  #get(name: string): { node: Node; pod: Pod } {
    const found = this.#pods.get(name);
    if (found === undefined) throw new CheckError(`there is no pod "${name}": its row failed`);
    return found;
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
