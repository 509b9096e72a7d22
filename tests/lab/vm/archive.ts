/**
 * What a virtual machine finds when its kernel has started: a file system in memory, made of this
 * machine's own programs with the libraries that they need, and of the kernel's modules. Written
 * as a cpio archive, the form in which Linux takes its first file system.
 *
 * @module
 */

import { must } from "../command.ts";

/** What goes in. */
export interface Contents {
  /** Where `tools/peers vm` unpacked the packages. */
  readonly packages: string;
  /** Programs of this machine, by path; they come into `/bin`. */
  readonly programs: readonly string[];
  /** Modules with all that they need. */
  readonly modules: readonly string[];
  /** The first process. */
  readonly init: string;
}

/** The modes of what goes in. */
const DIRECTORY = 0o040755;
const FILE = 0o100755;
const LINK = 0o120777;

/** Writes an archive of files. */
class Archive implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #seen = new Set<string>([""]);
  #inode = 1;

  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
  }

  has(name: string): boolean {
    return this.#seen.has(name);
  }

  directory(name: string): void {
    if (this.#seen.has(name)) return;
    const parent = name.slice(0, Math.max(0, name.lastIndexOf("/")));
    this.directory(parent);
    this.#entry(name, DIRECTORY, new Uint8Array());
  }

  file(name: string, data: Uint8Array, mode = FILE): void {
    if (this.#seen.has(name)) return;
    this.directory(name.slice(0, Math.max(0, name.lastIndexOf("/"))));
    this.#entry(name, mode, data);
  }

  link(name: string, target: string): void {
    this.file(name, new TextEncoder().encode(target), LINK);
  }

  #entry(name: string, mode: number, data: Uint8Array): void {
    this.#seen.add(name);
    const path = new TextEncoder().encode(`${name}\0`);
    // newc: inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name, sum.
    const fields = [this.#inode++, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length, 0];
    const head = `070701${fields.map((n) => n.toString(16).padStart(8, "0")).join("")}`;
    this.#write(new TextEncoder().encode(head));
    this.#write(path);
    this.#pad(head.length + path.length);
    this.#write(data);
    this.#pad(data.length);
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }

  #pad(length: number): void {
    this.#write(new Uint8Array((4 - length % 4) % 4));
  }

  [Symbol.dispose](): void {
    this.#entry("TRAILER!!!", 0, new Uint8Array());
    this.#file.close();
  }
}

/** The version of the kernel in the packages. */
export function kernelVersion(packages: string): string {
  const names = [...Deno.readDirSync(`${packages}/boot`)].map(({ name }) => name);
  const image = names.find((name) => name.startsWith("vmlinuz-"));
  if (image === undefined) throw new Error(`no kernel in ${packages}/boot; run tools/peers vm`);
  return image.slice("vmlinuz-".length);
}

/** Writes the archive. */
export async function writeArchive(path: string, contents: Contents): Promise<void> {
  const { packages } = contents;
  const busybox = `${packages}/bin/busybox`;
  using archive = new Archive(path);
  for (const name of ["proc", "sys", "dev", "tmp", "run", "var/lib", "etc", "root"]) {
    archive.directory(name);
  }
  archive.link("sbin", "bin");
  archive.file("etc/hosts", new TextEncoder().encode("127.0.0.1 localhost\n"), 0o100644);
  archive.file("init", Deno.readFileSync(contents.init));
  for (const program of contents.programs) await addProgram(archive, program);
  archive.file("bin/busybox", Deno.readFileSync(busybox));
  for (const applet of (await must([busybox, "--list"])).trim().split("\n")) {
    archive.link(`bin/${applet}`, "busybox");
  }
  await addModules(archive, contents, busybox);
}

/** A program, and the libraries that the linker names. */
async function addProgram(archive: Archive, path: string): Promise<void> {
  archive.file(`bin/${path.slice(path.lastIndexOf("/") + 1)}`, Deno.readFileSync(path));
  // Of a static program it says that it is none of its kind.
  const text = await must(["sh", "-c", `ldd ${path} 2>/dev/null || true`]);
  for (const [library] of text.matchAll(/\/\S+/g)) {
    archive.file(library.slice(1), Deno.readFileSync(library));
  }
}

async function addModules(
  archive: Archive,
  { packages, modules }: Contents,
  busybox: string,
): Promise<void> {
  const version = kernelVersion(packages);
  const base = `lib/modules/${version}`;
  const folder = `${packages}/${base}`;
  // What needs what; the package's own script would do this when it is installed.
  await must([busybox, "depmod", "-b", packages, version]);
  for (const { name } of Deno.readDirSync(folder)) {
    if (name.startsWith("modules.")) {
      archive.file(`${base}/${name}`, Deno.readFileSync(`${folder}/${name}`));
    }
  }
  const needs = new Map(
    Deno.readTextFileSync(`${folder}/modules.dep`).split("\n").map((line) => {
      const [file = "", list = ""] = line.split(":");
      return [file, list.split(" ").filter((one) => one !== "")] as const;
    }),
  );
  for (const [file, list] of needs) {
    const name = /([^/]+)\.ko$/.exec(file)?.[1];
    if (name === undefined || !modules.includes(name)) continue;
    for (const one of [file, ...list]) {
      archive.file(`${base}/${one}`, Deno.readFileSync(`${folder}/${one}`));
    }
  }
}
