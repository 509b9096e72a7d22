/**
 * The daemon's log: one line on stderr for each fact that matters, as text for people or as JSON
 * for collectors.
 *
 * A value can never forge a line or a field: text values with a space, a quote or a control
 * character are printed as JSON strings. A field whose name says that it is secret prints as `…`.
 *
 * @module
 */

/** How much a line matters, least first. */
export const LEVELS = ["debug", "info", "warn", "error"] as const;

/** One of {@link LEVELS}. */
export type Level = (typeof LEVELS)[number];

/** Named values of a line. An undefined value leaves its field out. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** How lines look. */
export type LogFormat = "text" | "json";

/** Where a log goes and what it lets through. */
export interface LogOptions {
  /** `text` unless set. */
  readonly format?: LogFormat;
  /** Lines below this level are dropped; `info` unless set. */
  readonly level?: Level;
  /** Takes one whole line, line feed included; stderr unless set. */
  readonly write?: (line: string) => void;
  /** The time of a line; the machine's clock unless set. */
  readonly now?: () => Date;
}

/**
 * A log, or a child of one that adds fields to each line.
 *
 * ```ts
 * import { Log } from "./log.ts";
 *
 * const lines: string[] = [];
 * const now = () => new Date(0);
 * const log = new Log({ write: (line) => lines.push(line), now }).with({ store: "etcd" });
 * log.info("Lease renewed", { expires: "2026-01-02T00:00:00Z" });
 * const want = "1970-01-01T00:00:00.000Z info  Lease renewed store=etcd expires=2026-01-02T00:00:00Z\n";
 * if (lines[0] !== want) throw new Error(lines[0]);
 * ```
 */
export class Log {
  readonly #format: LogFormat;
  readonly #least: number;
  readonly #write: (line: string) => void;
  readonly #now: () => Date;
  readonly #fields: LogFields;

  constructor(options: LogOptions = {}, fields: LogFields = {}) {
    this.#format = options.format ?? "text";
    this.#least = LEVELS.indexOf(options.level ?? "info");
    this.#write = options.write ?? writeStderr;
    this.#now = options.now ?? (() => new Date());
    this.#fields = fields;
  }

  /** The same log; every line of the result has these fields too. */
  with(fields: LogFields): Log {
    const options: LogOptions = {
      format: this.#format,
      level: LEVELS[this.#least] ?? "error",
      write: this.#write,
      now: this.#now,
    };
    return new Log(options, { ...this.#fields, ...fields });
  }

  /** What only somebody who looks for a fault wants to know. */
  debug(message: string, fields?: LogFields): void {
    this.#line("debug", message, fields);
  }

  /** A fact of normal operation. */
  info(message: string, fields?: LogFields): void {
    this.#line("info", message, fields);
  }

  /** Something is wrong, and the daemon copes. */
  warn(message: string, fields?: LogFields): void {
    this.#line("warn", message, fields);
  }

  /** Something is wrong, and somebody must act. */
  error(message: string, fields?: LogFields): void {
    this.#line("error", message, fields);
  }

  #line(level: Level, message: string, fields: LogFields = {}): void {
    if (LEVELS.indexOf(level) < this.#least) return;
    const time = this.#now().toISOString();
    const shown = Object.entries({ ...this.#fields, ...fields })
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, SECRET.test(name) ? "…" : value] as const);
    switch (this.#format) {
      case "text": {
        const words = shown.map(([name, value]) => ` ${name}=${textValue(value)}`).join("");
        const head = `${time} ${level.padEnd(5)} `;
        return this.#write(`${head}${message.replace(CONTROL, escapeControl)}${words}\n`);
      }
      case "json": {
        const line = JSON.stringify({ time, level, message, ...Object.fromEntries(shown) });
        return this.#write(`${line.replace(CONTROL, escapeControl)}\n`);
      }
    }
  }
}

/** Names of fields that must not be seen by whoever reads the log. */
const SECRET = /passw|secret|token|private/i;
/** C0, DEL and C1 controls, and the two line separators that some terminals obey. */
const CONTROL = /[\p{Cc}\u2028\u2029]/gu;

function escapeControl(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function textValue(value: LogFields[string]): string {
  if (typeof value !== "string") return String(value);
  if (/^[^\s"=\\]+$/.test(value)) return value.replace(CONTROL, escapeControl);
  return JSON.stringify(value).replace(CONTROL, escapeControl);
}

function writeStderr(line: string): void {
  const bytes = new TextEncoder().encode(line);
  for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
}
