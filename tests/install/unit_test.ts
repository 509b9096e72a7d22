/** The unit: words reach the daemon as they were given. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { unitText, unitWord } from "../../install/unit.ts";

/** Words of a command line as systemd.service(5) and systemd.syntax(7) describe it. */
function systemdWords(line: string): string[] {
  const words: string[] = [];
  const ESCAPES: Readonly<Record<string, string>> = { '"': '"', "\\": "\\", n: "\n", t: "\t" };
  let at = 0;
  while (at < line.length) {
    if (line[at] === " ") {
      at++;
      continue;
    }
    let [word, quoted] = ["", false];
    for (; at < line.length && (quoted || line[at] !== " "); at++) {
      const c = line[at]!;
      if (c === '"') quoted = !quoted;
      else if (c === "\\") {
        const next = line[++at]!;
        if (next === "x") {
          word += String.fromCharCode(parseInt(line.slice(at + 1, at + 3), 16));
          at += 2;
        } else word += ESCAPES[next] ?? assert.fail(`\\${next}`);
      } else word += c;
    }
    assert.equal(quoted, false, line);
    // Specifiers, then variables.
    for (const mark of ["%", "$"]) {
      const rest = word.replaceAll(mark + mark, "");
      assert.ok(!rest.includes(mark), `a lone ${mark} in ${line}`);
      word = word.replaceAll(mark + mark, mark);
    }
    words.push(word);
  }
  return words;
}

Deno.test("unit: plain words stand as they are", () => {
  for (const word of ["--ip-masq", "--etcd-endpoints=http://10.0.0.2:2379,http://[fd00::1]:2379"]) {
    assert.equal(systemdWords(unitWord(word))[0], word);
  }
  assert.equal(unitWord("--iface=eth0"), "--iface=eth0");
  assert.equal(unitWord("100%$HOME"), "100%%$$HOME");
  assert.equal(unitWord('a "b" \\ c\n'), '"a \\"b\\" \\\\ c\\x0a"');
  assert.equal(unitWord(""), '""');
  // Alone and unquoted it would separate two commands.
  assert.equal(unitWord(";"), '";"');
});

Deno.test("unit: any words come back, on one line", () => {
  const word = fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0"));
  fc.assert(fc.property(fc.array(word), (words) => {
    const line = words.map(unitWord).join(" ");
    assert.ok(!/[\r\n]/.test(line));
    assert.deepEqual(systemdWords(line), words);
  }));
});

Deno.test("unit: nothing that a command line cannot hold", () => {
  assert.throws(() => unitWord("a\0b"), /NUL/);
  assert.throws(() => unitText("/opt/a b/twill", []), /systemd cannot start/);
});
