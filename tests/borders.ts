/**
 * The borders between our folders, as pure rules over the parsed sources: each takes all sources
 * and returns its violations as text. Which folder may import which is in docs/ and in
 * {@link MAY_IMPORT}.
 *
 * @module
 */

/** One `import`, `export … from`, `import()` or `import("…")` type. */
export interface Import {
  /** As written; empty for an `import()` of something that is no literal. */
  readonly specifier: string;
  /** `type` imports are gone at run time, the others load a module. */
  readonly kind: "static" | "dynamic" | "type";
}

/** One TypeScript file. */
export interface Source {
  /** Relative to the root, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
  /** Which of the words that only ffi/ may say occur outside comments, each once. */
  readonly ffiWords: readonly string[];
  /** Whether the module waits for something while it is loaded. */
  readonly topLevelAwait: boolean;
}

/**
 * Folder → folders, or single files of others, that it may import. A folder of product code that is
 * not here fails the test.
 */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "mod.ts": ["cni", "completions", "daemon", "inspect", "install", "version.ts"],
  "version.ts": [],
  cni: ["cni", "engine", "ffi", "version.ts"],
  daemon: ["daemon", "cni", "engine", "ffi", "install/conflist.ts", "version.ts"],
  // Of the others only what their commands declare.
  completions: ["completions", "inspect", "install", "daemon/flags.ts"],
  // Of stores, inspect knows the file alone; the daemon's word and snapshot are documents.
  inspect: ["inspect", "daemon/store/file.ts", "engine", "ffi", "version.ts"],
  install: [
    "install",
    "cni/names.ts",
    "cni/ours.ts",
    "daemon/flags.ts",
    "engine",
    "ffi",
    "version.ts",
  ],
  ffi: ["ffi", "engine"],
  engine: ["engine"],
};

/** A file may have about 400 lines; more than this many is more than about. */
const MAX_LINES = 420;

const ETCD_FILES: Readonly<Record<string, string>> = {
  "etcd3": "daemon/store/etcd.ts",
  "@grpc/grpc-js": "daemon/store/etcd_channel.ts",
};

const FFI_WORDS = new Set([
  "dlopen",
  "UnsafePointer",
  "UnsafePointerView",
  "UnsafeFnPointer",
  "UnsafeCallback",
]);

/** Stands behind every parsed text, to see that the walk got to the end. */
const END = "end of the source";

/** The shape of what the linter's parser hands out, as far as we look at it. */
interface Node {
  readonly type: string;
  readonly parent?: Node;
  readonly name?: string;
  readonly value?: unknown;
  readonly kind?: string;
  readonly await?: boolean;
  readonly source?: Node | null;
  readonly importKind?: string;
  readonly exportKind?: string;
}

/**
 * Parses one file. Works inside `deno test` only: the parser is the linter's.
 *
 * @throws Error if the parser stopped before the end (Deno 2.9 does so at an empty statement):
 *   what it did not see it cannot judge
 */
export function parse(path: string, text: string): Source {
  const imports: Import[] = [];
  const ffiWords = new Set<string>();
  let topLevelAwait = false;
  let complete = false;
  const add = (source: Node | null | undefined, kind: Import["kind"]): void => {
    if (!source) return;
    imports.push({ specifier: typeof source.value === "string" ? source.value : "", kind });
  };
  const waits = (node: Node): void => {
    for (let up = node.parent; up; up = up.parent) if (up.type.includes("Function")) return;
    topLevelAwait = true;
  };
  const visitor: Record<string, (node: Node) => void> = {
    ImportDeclaration: (node) => add(node.source, node.importKind === "type" ? "type" : "static"),
    ExportNamedDeclaration: (node) =>
      add(node.source, node.exportKind === "type" ? "type" : "static"),
    ExportAllDeclaration: (node) =>
      add(node.source, node.exportKind === "type" ? "type" : "static"),
    ImportExpression: (node) => add(node.source, "dynamic"),
    AwaitExpression: waits,
    ForOfStatement: (node) => node.await === true ? waits(node) : undefined,
    VariableDeclaration: (node) => node.kind === "await using" ? waits(node) : undefined,
    Identifier: (node) => void (FFI_WORDS.has(node.name ?? "") && ffiWords.add(node.name ?? "")),
    Literal: (node) => {
      if (node.value === END) complete = true;
      if (node.parent?.parent?.type === "TSImportType") add(node, "type");
      if (node.value === "buffer" || FFI_WORDS.has(String(node.value))) {
        ffiWords.add(JSON.stringify(node.value));
      }
    },
  };
  const rule = { create: () => visitor as unknown as Deno.lint.LintVisitor };
  const plugin: Deno.lint.Plugin = { name: "borders", rules: { read: rule } };
  Deno.lint.runPlugin(plugin, path.replaceAll("/", "_"), `${text}\nvoid "${END}";\n`);
  if (!complete) {
    throw new Error(`Cannot read all of ${path}: has it an empty statement (a lone ";")?`);
  }
  return { path, text, imports, ffiWords: [...ffiWords], topLevelAwait };
}

/** The first part of a path: the folder, or a file of the root. */
function area(path: string): string {
  return path.split("/", 1)[0]!;
}

/** Code that goes into the binary. Tests and tools may import and call what they need. */
function isProduct({ path }: Source): boolean {
  return area(path) !== "tests" && area(path) !== "tools";
}

/** What a specifier means: a path of ours, or "npm:…", "node:…" and the like. */
function resolve(from: string, specifier: string): string {
  if (!specifier.startsWith(".")) {
    // A bare name is an npm package by deno.json's import map.
    return /^[a-z]+:/.test(specifier) ? specifier : `npm:${specifier}`;
  }
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) return `outside:${specifier}`;
    } else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

function isOurs(target: string): boolean {
  return !/^[a-z]+:/.test(target);
}

/** Takes all sources, returns what is wrong, one text per violation. */
export type Rule = (sources: readonly Source[]) => string[];

/** Imports between our own folders point one way. */
const direction: Rule = (sources) =>
  sources.filter(isProduct).flatMap(({ path, imports }) => {
    const allowed = MAY_IMPORT[area(path)];
    if (!allowed) return [`${path}: no rule says what ${area(path)} may import`];
    return imports
      .map(({ specifier }) => resolve(path, specifier))
      .filter((to) =>
        to.startsWith("outside:") ||
        isOurs(to) && !allowed.includes(area(to)) && !allowed.includes(to)
      )
      .map((to) =>
        `${path} imports ${to}; ${area(path)} may import ${allowed.join(", ") || "nothing"}`
      );
  });

/** engine/ imports nothing but itself: no package, no built-in module, not even a type. */
const engineAlone: Rule = (sources) =>
  sources.filter(({ path }) => area(path) === "engine").flatMap(({ path, imports }) =>
    imports
      .map(({ specifier }) => resolve(path, specifier))
      .filter((to) => area(to) !== "engine")
      .map((to) => `${path} imports ${to}; engine imports only engine`)
  );

/** Nothing that a plugin call loads, at once or later, is an npm package or a node: module. */
const leanPlugin: Rule = (sources) => {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const seen = new Set<string>();
  const found: string[] = [];
  const visit = (source: Source, way: string): void => {
    if (seen.has(source.path)) return;
    seen.add(source.path);
    for (const { specifier, kind } of source.imports) {
      if (kind === "type") continue;
      const to = resolve(source.path, specifier);
      if (!isOurs(to)) found.push(`${way} imports ${to}; a plugin call would pay for it`);
      const next = byPath.get(to);
      if (next) visit(next, `${way} → ${to}`);
    }
  };
  for (const source of sources) if (area(source.path) === "cni") visit(source, source.path);
  return found;
};

/** Only ffi/ touches foreign memory and foreign code. */
const ffiOnly: Rule = (sources) =>
  sources.filter((source) => isProduct(source) && area(source.path) !== "ffi").flatMap((source) =>
    source.ffiWords.map((word) => `${source.path} says ${word}; only ffi may`)
  );

/**
 * etcd3 costs 90 ms and 70 MiB: one file imports it, and that one is loaded on demand. The gRPC below
 * it has one file, too.
 */
const etcdInOneFile: Rule = (sources) =>
  sources.flatMap(({ path, imports }) =>
    imports
      .map(({ specifier }) => resolve(path, specifier))
      .flatMap((to) => {
        const [, name = ""] = /^npm:\/?(etcd3|@grpc\/grpc-js)(?:[@/]|$)/.exec(to) ?? [];
        const home = ETCD_FILES[name] ?? path;
        return home === path ? [] : [`${path} imports ${to}; only ${home} may`];
      })
  );

/** Loading a module waits for nothing, but for the entry itself. */
const awaitInEntryOnly: Rule = (sources) =>
  sources.filter((source) => isProduct(source) && source.path !== "mod.ts" && source.topLevelAwait)
    .map(({ path }) => `${path} waits at top level; only mod.ts may`);

/** deno compile embeds what it can read in the text: `import()` takes literals. */
const literalImports: Rule = (sources) =>
  sources.filter(isProduct).flatMap(({ path, imports }) =>
    imports.filter(({ specifier }) => specifier === "")
      .map(() =>
        `${path} has an import() of something that is no literal; it would not be embedded`
      )
  );

/** File and folder names are snake_case. */
const snakeCase: Rule = (sources) =>
  sources.filter(({ path }) =>
    !/^(?:[a-z0-9]+(?:_[a-z0-9]+)*\/)*[a-z0-9]+(?:_[a-z0-9]+)*\.ts$/.test(path)
  )
    .map(({ path }) => `${path} is not snake_case`);

/** A file that needs more lines does more than one thing. */
const shortFiles: Rule = (sources) =>
  sources.flatMap(({ path, text }) => {
    const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
    return lines > MAX_LINES ? [`${path} has ${lines} lines; the limit is ${MAX_LINES}`] : [];
  });

/** All rules by name. */
export const RULES = {
  direction,
  engineAlone,
  leanPlugin,
  ffiOnly,
  etcdInOneFile,
  awaitInEntryOnly,
  literalImports,
  snakeCase,
  shortFiles,
} as const satisfies Record<string, Rule>;
