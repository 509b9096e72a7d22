/**
 * A place of its own in the lab: a host without a machine. It has its own network and host name,
 * and its own view of the file system, which starts as a private copy of ours.
 *
 * @module
 */

import { Hopeless, must, type Output, run, type RunOptions, until } from "./command.ts";
import { Service } from "./service.ts";

/** What a place is made with. */
export interface SpaceOptions {
  readonly name: string;
  /** Folder for logs; it belongs to the lab. */
  readonly folder: string;
}

/** One command: a program and its arguments. */
export type Command = readonly [string, ...string[]];

/** A network and mount namespace, held by a process that sleeps. */
export class Space implements AsyncDisposable {
  readonly name: string;
  readonly #folder: string;
  readonly #holder: Service;
  readonly #services: Service[] = [];

  protected constructor({ name, folder }: SpaceOptions, holder: Service) {
    this.name = name;
    this.#folder = folder;
    this.#holder = holder;
  }

  /** A fresh one: nothing in it but a loopback device, which is up. */
  static async create(options: SpaceOptions): Promise<Space> {
    return new Space(options, await Space.hold(options));
  }

  /** Starts the process that holds the namespaces. */
  protected static async hold({ name, folder }: SpaceOptions): Promise<Service> {
    const namespaces = ["--net", "--mount", "--uts", "--propagation", "private"];
    // The shell sets the place up and then becomes the sleeper, so that its name tells when.
    const setup =
      `hostname "$1" && mount -nt sysfs sysfs /sys && ip link set lo up && exec sleep infinity`;
    const holder = await Service.start(["unshare", ...namespaces, "sh", "-ec", setup, "sh", name], {
      base: `${folder}/${name}`,
    });
    const isReady = (): boolean => {
      if (holder.code !== undefined) throw new Hopeless(holder.tail());
      return Deno.readTextFileSync(`/proc/${holder.pid}/comm`) === "sleep\n";
    };
    try {
      await until(`the namespaces of ${name} are there`, isReady, { every: 2 });
    } catch (e) {
      await holder.stop("SIGKILL");
      throw e;
    }
    return holder;
  }

  /** The process to enter: `nsenter -t PID -n -m -u`. */
  get pid(): number {
    return this.#holder.pid;
  }

  /** The command that does in this place what `command` does here. */
  inside(command: Command): Command {
    return ["nsenter", "-t", String(this.pid), "-n", "-m", "-u", "--", ...command];
  }

  /** Runs a program here, to its end; any exit status is a result. */
  exec(command: Command, options?: RunOptions): Promise<Output> {
    return run(this.inside(command), options);
  }

  /**
   * Runs a program here that must succeed.
   *
   * @returns its stdout
   * @throws {CommandError} when it fails
   */
  must(command: Command, options?: RunOptions): Promise<string> {
    return must(this.inside(command), options);
  }

  /** Several requests to `ip`, as `ip -batch` takes them: one a line, without the word `ip`. */
  async ip(...requests: readonly string[]): Promise<void> {
    await this.must(["ip", "-batch", "-"], { stdin: requests.map((line) => `${line}\n`).join("") });
  }

  /** Starts a program here that runs until it is stopped, or the place is taken away. */
  async start(
    name: string,
    command: Command,
    env: Readonly<Record<string, string>> = {},
  ): Promise<Service> {
    const base = `${this.#folder}/${this.name}.${name}.${this.#services.length}`;
    const service = await Service.start(this.inside(command), { base, env });
    this.#services.push(service);
    return service;
  }

  /** Our path of a file that is called `path` here. No part of it may be an absolute link. */
  path(path: string): string {
    return `/proc/${this.pid}/root${path}`;
  }

  /** A file of this place; undefined when there is none. */
  read(path: string): string | undefined {
    try {
      return Deno.readTextFileSync(this.path(path));
    } catch (e) {
      if (e instanceof Deno.errors.NotFound) return undefined;
      throw e;
    }
  }

  /** Writes a file of this place; its folder must be there. */
  write(path: string, text: string): void {
    Deno.writeTextFileSync(this.path(path), text);
  }

  /** Names in a folder of this place, sorted; empty when there is no such folder. */
  list(path: string): string[] {
    try {
      return [...Deno.readDirSync(this.path(path))].map(({ name }) => name).sort();
    } catch (e) {
      if (e instanceof Deno.errors.NotFound) return [];
      throw e;
    }
  }

  /** Ends what runs here; with the last process the kernel takes namespaces and mounts away. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of this.#services.toReversed()) await service.stop("SIGKILL");
    await this.#holder.stop("SIGKILL");
  }
}
