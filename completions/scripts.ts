/**
 * What a shell reads once: it then asks `twill completions --words …` at each TAB. Pure.
 *
 * @module
 */

/** Shells that can be taught. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
/** One of {@link SHELLS}. */
export type Shell = (typeof SHELLS)[number];

// The program that is completed is the one that is asked, wherever it lies. Where it proposes
// nothing, the shell proposes files.
const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# bash completion for twill: source <(twill completions bash)
_twill() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <("\${COMP_WORDS[0]}" completions --words "\${COMP_WORDS[@]:0:COMP_CWORD + 1}" 2>/dev/null)
}
complete -o default -o bashdefault -F _twill twill
`,
  zsh: `#compdef twill
# zsh completion for twill: source <(twill completions zsh), or a file _twill in $fpath
_twill() {
  local -a found
  local word brief
  while IFS=$'\\t' read -r word brief; do
    found+=("\${word//:/\\\\:}:$brief")
  done < <("\${words[1]}" completions --words "\${(@)words[1,CURRENT]}" 2>/dev/null)
  if ((\${#found})); then _describe -t twill twill found; else _files; fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _twill "$@"; else compdef _twill twill; fi
`,
  fish: `# fish completion for twill: twill completions fish | source
function __twill_complete
  set -l line (commandline -opc) (commandline -ct)
  set -l found (command $line[1] completions --words $line 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c twill -f -a '(__twill_complete)'
`,
};

/** The script of a shell. */
export function scriptOf(shell: Shell): string {
  return SCRIPTS[shell];
}

/** True for the name of a shell that can be taught. */
export function isShell(word: string | undefined): word is Shell {
  return SHELLS.some((shell) => shell === word);
}
