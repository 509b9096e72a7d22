/**
 * A machine of the Kubernetes lab: like a place of the other lab ({@link Space}), but with processes,
 * cgroups and a disk of its own, so that a container runtime and a kubelet find what they expect,
 * and so that its power can be cut.
 *
 * @module
 */

import { Hopeless, must, signal, until } from "../command.ts";
import { Service } from "../service.ts";
import { type Command, Space, type SpaceOptions } from "../space.ts";

/** The lab's folder; the same in all machines. */
export const FOLDER = "/run/k8s";

const HERE = new URL(".", import.meta.url).pathname;

/** What a machine is made with. Its disk is what a machine of the same name has left. */
export interface MachineOptions extends SpaceOptions {
  /** False: as if the kernel had no br_netfilter. Default true. */
  readonly bridgeNetfilter?: boolean;
}

/** A running machine. Disposing of it is a power cut: nothing in it has time for anything. */
export class Machine extends Space {
  readonly #init: number;

  private constructor(options: MachineOptions, holder: Service, init: number) {
    super(options, holder);
    this.#init = init;
  }

  /** Switches a machine on; nothing runs in it yet. */
  static override async create(options: MachineOptions): Promise<Machine> {
    const { name, folder, bridgeNetfilter = true } = options;
    const disk = `${FOLDER}/${name}`;
    Deno.mkdirSync(disk, { recursive: true });
    Deno.mkdirSync(folder, { recursive: true });
    const env = { TWILL_BRIDGE_NETFILTER: bridgeNetfilter ? "1" : "0" };
    const ready = `${disk}/ready`;
    await must(["rm", "-f", ready]);
    const holder = await Service.start([`${HERE}machine`, name, disk], {
      base: `${folder}/${name}`,
      env,
    });
    try {
      await until(`${name} is up`, async () => {
        if (holder.code !== undefined) throw new Hopeless(holder.tail());
        await Deno.stat(ready);
        return true;
      });
      const init = childOf(holder.pid);
      Deno.writeTextFileSync(`${disk}/pid`, `${init}\n`);
      return new Machine(options, holder, init);
    } catch (e) {
      await holder.stop("SIGKILL");
      throw e;
    }
  }

  /** The machine's first process. */
  override get pid(): number {
    return this.#init;
  }

  override inside(command: Command): Command {
    return [`${HERE}enter`, this.name, ...command];
  }

  /** Sends a signal to a program that was started here, not to what entered for it. */
  signal(service: Service, name: Deno.Signal): void {
    if (service.code === undefined) signal(childOf(service.pid), name);
  }

  /** Ends a program that was started here. */
  async end(service: Service, name: Deno.Signal = "SIGTERM"): Promise<void> {
    this.signal(service, name);
    await service.ended();
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    signal(this.#init, "SIGKILL");
    await super[Symbol.asyncDispose]();
  }
}

/** The only child of a process. @throws {Hopeless} when it has none */
function childOf(pid: number): number {
  const [child] = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).split(" ");
  if (!child) throw new Hopeless(`process ${pid} has no child`);
  return Number(child);
}
