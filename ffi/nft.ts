/**
 * nftables by its text language: through `libnftables.so.1` in this process, else by running
 * `nft`. A batch of text is one transaction: all of it takes effect, or nothing.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { type Listing, parseListing } from "../engine/rules/nft_listing.ts";
import { cString } from "./libc.ts";
import { Kept } from "./kept.ts";
import { type FunctionTable, openLibrary } from "./library.ts";
import { MemoryFile } from "./memory_file.ts";

const LIBRARY = "libnftables.so.1";

/** nftables/libnftables.h. */
const SYMBOLS = {
  // struct nft_ctx *nft_ctx_new(uint32_t flags) — freed by nft_ctx_free
  nft_ctx_new: { parameters: ["u32"], result: "pointer" },
  // void nft_ctx_free(struct nft_ctx *)
  nft_ctx_free: { parameters: ["pointer"], result: "void" },
  // void nft_ctx_output_set_flags(struct nft_ctx *, unsigned int flags)
  nft_ctx_output_set_flags: { parameters: ["pointer", "u32"], result: "void" },
  // int nft_ctx_buffer_output(struct nft_ctx *)
  nft_ctx_buffer_output: { parameters: ["pointer"], result: "i32" },
  // const char *nft_ctx_get_output_buffer(struct nft_ctx *) — owned by the context
  nft_ctx_get_output_buffer: { parameters: ["pointer"], result: "pointer" },
  // int nft_ctx_buffer_error(struct nft_ctx *)
  nft_ctx_buffer_error: { parameters: ["pointer"], result: "i32" },
  // const char *nft_ctx_get_error_buffer(struct nft_ctx *) — owned by the context
  nft_ctx_get_error_buffer: { parameters: ["pointer"], result: "pointer" },
  // int nft_run_cmd_from_buffer(struct nft_ctx *, const char *) — 0 for success
  nft_run_cmd_from_buffer: { parameters: ["pointer", "buffer"], result: "i32" },
} as const satisfies FunctionTable;

/** The same on a thread of Deno's pool: for texts that take long, in a process that has other work. */
const OFF_THREAD = {
  nft_run_cmd_from_buffer: { parameters: ["pointer", "buffer"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

type Libnftables = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** `NFT_CTX_OUTPUT_STATELESS`: no counters. */
const STATELESS = 1 << 2;
/** `NFT_CTX_OUTPUT_HANDLE`: the kernel's numbers of tables, chains and rules. */
const HANDLE = 1 << 3;

/** The transaction's outcome; `output` is what `nft` would print. */
export interface Ran {
  readonly ok: boolean;
  readonly output: string;
  readonly error: string;
}

/** What listings show beside the rules. */
export type NftDetail = "handles";

/** A way to run nft commands as one transaction. */
export type NftRunner = (commands: string, detail?: NftDetail) => Ran;

let chosen: NftRunner | undefined;

/** The library where there is one, else the program; found on first use. */
export function nftRunner(): NftRunner {
  return chosen ??= nftLibrary() ?? nftProgram;
}

/** `libnftables.so.1`, opened for the life of the process; undefined where it is missing. */
function nftLibrary(): NftRunner | undefined {
  const symbols = library();
  if (symbols === undefined) return undefined;
  return (commands, detail) => {
    const shared = kept.get(() => new NftContext());
    if (shared !== undefined) return shared.run(commands, detail);
    using context = new NftContext();
    return context.run(commands, detail);
  };
}

const kept = new Kept<NftContext>();

/** Keeps the context of the calling thread's namespace: for a process that lives long. */
export function keepNftContext(): void {
  kept.keep();
}

let opened: Libnftables | undefined;
let openedOff: Deno.DynamicLibrary<typeof OFF_THREAD>["symbols"] | undefined;

/**
 * What runs a transaction without holding up the calling thread, opened on first use.
 *
 * @throws when the library is missing.
 */
export function nftOffThread(): Deno.DynamicLibrary<typeof OFF_THREAD>["symbols"] {
  return openedOff ??= Deno.dlopen(LIBRARY, OFF_THREAD).symbols;
}

function library(): Libnftables | undefined {
  try {
    return opened ??= openLibrary(LIBRARY, SYMBOLS);
  } catch {
    return undefined;
  }
}

/**
 * A context of the library: it sees the network namespace in which it is made, and owns the tables
 * with `flags owner` that are made with it: they go when it is disposed, or the process ends.
 */
export class NftContext implements Disposable {
  readonly #nft: Libnftables;
  #context: Deno.PointerValue;

  /** @throws {OpError} when the library is missing. */
  constructor() {
    const symbols = library();
    if (symbols === undefined) {
      const advice = "Install the package libnftables1";
      throw new OpError("load", LIBRARY, { code: ErrorCode.program, advice });
    }
    this.#nft = symbols;
    this.#context = symbols.nft_ctx_new(0);
  }

  /** Runs commands as one transaction. */
  run(commands: string, detail?: NftDetail): Ran {
    this.#prepare(detail);
    return this.#ran(this.#nft.nft_run_cmd_from_buffer(this.#context, cString(commands)) === 0);
  }

  /** The same on another thread. Nothing else may be asked of this context meanwhile. */
  async runSlow(commands: string): Promise<Ran> {
    const { nft_run_cmd_from_buffer } = nftOffThread();
    this.#prepare();
    return this.#ran(await nft_run_cmd_from_buffer(this.#context, cString(commands)) === 0);
  }

  #prepare(detail?: NftDetail): void {
    const [nft, context] = [this.#nft, this.#context];
    nft.nft_ctx_output_set_flags(context, STATELESS | (detail === "handles" ? HANDLE : 0));
    nft.nft_ctx_buffer_output(context);
    nft.nft_ctx_buffer_error(context);
  }

  #ran(ok: boolean): Ran {
    const [nft, context] = [this.#nft, this.#context];
    const read = (at: Deno.PointerValue): string =>
      at === null ? "" : Deno.UnsafePointerView.getCString(at);
    return {
      ok,
      output: read(nft.nft_ctx_get_output_buffer(context)),
      error: read(nft.nft_ctx_get_error_buffer(context)),
    };
  }

  [Symbol.dispose](): void {
    if (this.#context !== null) this.#nft.nft_ctx_free(this.#context);
    this.#context = null;
  }
}

/** Runs the program `nft`. @throws {OpError} when it is missing */
export function nftProgram(commands: string, detail?: NftDetail): Ran {
  using file = new MemoryFile("twill-nft", new TextEncoder().encode(commands));
  try {
    const args = [...(detail === "handles" ? ["-a"] : []), "-s", "-f", file.path];
    const { success, stdout, stderr } = new Deno.Command("nft", { args }).outputSync();
    const decoder = new TextDecoder();
    return { ok: success, output: decoder.decode(stdout), error: decoder.decode(stderr) };
  } catch (e) {
    const [code, advice] = [ErrorCode.program, "Install the package libnftables1, or nftables"];
    throw new OpError("run", "nft", { code, kernel: messageOf(e), advice, cause: e });
  }
}

/**
 * Runs nft commands as one transaction in the calling thread's network namespace.
 *
 * @returns What `nft -s` would print.
 * @throws {OpError} with nft's own words; nothing has changed then.
 */
export function nft(
  commands: string,
  run: NftRunner = nftRunner(),
  detail?: NftDetail,
): string {
  return outputOf(run(commands, detail));
}

/** What a transaction printed. @throws {OpError} with nft's own words, when it was refused */
export function outputOf({ ok, output, error }: Ran): string {
  if (ok) return output;
  throw new OpError("apply", "nft rules", { code: ErrorCode.kernel, kernel: error.trim() });
}

/** One table as `nft -s list table` prints it, or empty when there is none. */
export function listTable(table: string, run?: NftRunner, detail?: NftDetail): string {
  return listings(`list table ${table}\n`, run, detail);
}

/** What a question prints; empty when what is asked for is not there. @throws {OpError} */
export function listings(question: string, run?: NftRunner, detail?: NftDetail): string {
  try {
    return nft(question, run, detail);
  } catch (e) {
    if (e instanceof OpError && /No such file or directory/.test(e.kernel ?? "")) return "";
    throw e;
  }
}

/** How often a change that rests on what we read is tried again, since others change rules too. */
const TRIES = 10;

/**
 * Changes a table that is not ours alone: reads it, and applies what `edit` makes of it, as one
 * transaction. What somebody else changed in between makes it fail; then it is read again.
 *
 * @param edit returns nft commands; none for nothing to do.
 * @throws {OpError} when the table cannot be read, or the commands are refused again and again.
 */
export function editTable(
  table: string,
  edit: (listing: Listing) => string,
  run?: NftRunner,
): void {
  let refused: { readonly commands: string; readonly error: unknown } | undefined;
  for (let tries = 0;; tries++) {
    const commands = edit(parseListing(listTable(table, run, "handles")));
    if (commands === "") return;
    if (commands === refused?.commands || tries >= TRIES) throw refused?.error;
    try {
      return void nft(commands, run);
    } catch (error) {
      refused = { commands, error };
    }
  }
}

/** Replaces a whole table, or makes it, in one transaction; empty text removes it. */
export function replaceTable(table: string, text: string, run?: NftRunner): void {
  nft(`table ${table}\ndelete table ${table}\n${text}`, run);
}
