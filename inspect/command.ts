/**
 * A command of inspect as data: its flags and its help, and where its work is. The command-line
 * library takes it as it is, and so does the short way past the library (`plain_line.ts`).
 *
 * @module
 */

import type { Aliases, FlagParametersForType, TypedPositionalParameters } from "@stricli/core";
import type { InspectContext } from "./context.ts";

/** What a command declares, as the library's `buildCommand` takes it. */
export interface Declared<F extends object, A extends readonly unknown[]> {
  /** Loads the work, when it is to be done. */
  readonly loader: () => Promise<
    (this: InspectContext, flags: F, ...rest: A) => void | Promise<void>
  >;
  readonly parameters:
    & {
      readonly flags: FlagParametersForType<F, InspectContext>;
      readonly aliases?: Aliases<keyof F & string>;
    }
    & (A extends readonly [] ? { readonly positional?: undefined }
      : { readonly positional: TypedPositionalParameters<A, InspectContext> });
  readonly docs: { readonly brief: string; readonly fullDescription: string };
}

/** A value's reader: what it throws says what is wrong with the word. */
type Parse = (this: InspectContext, word: string) => unknown;

/** A flag, as far as we look into it; of other kinds the library knows more. */
export type FlagShape =
  | {
    readonly kind: "boolean";
    readonly default?: boolean;
    readonly optional?: boolean;
    readonly brief: string;
    readonly withNegated?: boolean;
  }
  | {
    readonly kind: "enum";
    readonly values: readonly string[];
    readonly default?: string | readonly string[];
    readonly optional?: boolean;
    readonly brief: string;
    readonly variadic?: unknown;
  }
  | {
    readonly kind: "parsed";
    readonly parse: Parse;
    readonly default?: string | readonly string[];
    readonly optional?: boolean;
    readonly brief: string;
    readonly variadic?: unknown;
    readonly inferEmpty?: boolean;
  }
  | { readonly kind: "counter"; readonly brief: string };

/** An argument that is no flag. */
export interface ArgumentShape {
  readonly parse: Parse;
  readonly brief: string;
  readonly placeholder?: string;
  readonly default?: string;
  readonly optional?: boolean;
}

/** The work of a command. */
export type Work = (this: InspectContext, flags: object, ...rest: unknown[]) => unknown;

/** A command whose types have been checked and forgotten. */
export interface InspectCommand {
  readonly loader: () => Promise<Work>;
  readonly parameters: {
    readonly flags?: Readonly<Record<string, FlagShape>>;
    readonly aliases?: Readonly<Record<string, string | undefined>>;
    readonly positional?:
      | { readonly kind: "tuple"; readonly parameters: readonly ArgumentShape[] }
      | {
        readonly kind: "array";
        readonly parameter: ArgumentShape;
        readonly minimum?: number;
        readonly maximum?: number;
      };
  };
  readonly docs: { readonly brief: string; readonly fullDescription?: string };
  /** What its arguments name, for completion. */
  readonly names?: Names;
}

/** Kinds of live names that an argument may be. */
export type Names = "pods" | "peers" | "commands" | "none";

/**
 * Declares a command.
 *
 * @param names what its arguments name, for completion.
 */
export function command<F extends object, A extends readonly unknown[] = []>(
  declared: Declared<F, A>,
  names: Names = "none",
): InspectCommand {
  return { ...declared as unknown as InspectCommand, names };
}

/** A flag as it is typed: `--no-headers` for `noHeaders`. */
export function kebab(name: string): string {
  return `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
}
