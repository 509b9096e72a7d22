/**
 * Secrets taken out of texts that leave the node. Pure. It looks for names that mean a secret and
 * for what has the form of one, in JSON, YAML, command lines, variables, URLs; in doubt it takes out.
 *
 * @module
 */

/** Stands where a secret was. */
export const REMOVED = "REMOVED";

/** Names whose value is a secret, whatever stands before: `--etcd-password`, `client-key-data`. */
const NAME =
  String.raw`[\w.-]{0,40}(?:passw(?:or)?d|passphrase|secret|token|psk|pre-?shared-?key|` +
  String.raw`private-?key|client-key-data|client-certificate-data|authorization|credential|` +
  String.raw`api-?key|etcd[-_]?username|user-?name)s?`;

/** `"a\"b"`, `'a''b'`, and `\"a\"` inside of another text, with as many backslashes at its end. */
const QUOTED = String.raw`(?:"(?:\\[^]|[^"\\])*"|'(?:''|[^'])*'|(\\+)(["'])[^]*?(?<!\\)\2\3)`;

/** What is no secret whatever it is called; nor is what was taken out. */
const PLAIN = String.raw`(?!\s*(?:(?:null|true|false|${REMOVED})\b|[{[|>]))`;

const PEM = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
/** YAML: a value of several lines, which are indented more than its name. */
const BLOCK = new RegExp(
  String.raw`^([ \t-]*)(["']?${NAME}["']?:)[ \t]*[|>][^\n]*(?:\n(?:\1[ \t]+[^\n]*|[ \t]*(?=\n)))*`,
  "gim",
);
const WITH_QUOTES = new RegExp(String.raw`(${NAME}(?:\\*["'])?\s*[:=]\s*)${QUOTED}`, "gi");
const FLAG_AND_WORD = new RegExp(
  String.raw`(--?${NAME})([ \t]+["']?|["']\s*,\s*["'])(?![-"'])[^\s"']+`,
  "gi",
);
const IN_JSON = new RegExp(String.raw`(${NAME}\\*["']\s*:)${PLAIN}(\s*)[^\s"'\\,}\]]+`, "gi");
/** A line of YAML or of variables: whatever stands in it, quotes too, is the value. */
const LINE = new RegExp(
  String.raw`^([ \t]*(?:- |export )?(?!-)${NAME}[:=])${PLAIN}([ \t]*)(?!["'\s])[^\n]+`,
  "gim",
);
const BARE = new RegExp(String.raw`(${NAME}[ \t]*[:=])${PLAIN}([ \t]*)([^\n"'\\]+)`, "gi");

/** A text without them. */
export function redact(text: string): string {
  return text
    .replace(PEM, REMOVED)
    .replace(BLOCK, (_, indent, name) => `${indent}${name} ${REMOVED}`)
    .replace(WITH_QUOTES, (all, head: string, escape = "") => {
      const quote = all.at(-1);
      return `${head}${escape}${quote}${REMOVED}${escape}${quote}`;
    })
    .replace(LINE, `$1$2${REMOVED}`)
    .replace(FLAG_AND_WORD, `$1$2${REMOVED}`)
    .replace(IN_JSON, `$1$2${REMOVED}`)
    // Behind a flag stand others, and they are worth knowing; all else goes with its line.
    .replace(
      BARE,
      (_, head: string, gap: string, value: string) =>
        head + gap + (head.startsWith("-") ? value.replace(/^\S+/, REMOVED) : REMOVED),
    )
    .replace(/\b(basic|bearer)[ \t]+[\w.~+/=-]{6,}/gi, `$1 ${REMOVED}`)
    // user:password@ of a URL.
    .replace(/(\b[a-z][a-z\d+.-]*:\/\/)[^\s/"'?#]+@/gi, `$1${REMOVED}@`)
    // JSON web tokens, wherever.
    .replace(/\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*/g, REMOVED);
}
