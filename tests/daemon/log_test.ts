import assert from "node:assert/strict";
import fc from "fast-check";
import { LEVELS, Log, type LogOptions } from "../../daemon/log.ts";

function capture(options: LogOptions = {}): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const now = (): Date => new Date("2026-08-14T12:00:00Z");
  return { log: new Log({ write: (line) => lines.push(line), now, ...options }), lines };
}

Deno.test("Log: a text line has time, level, message and fields", () => {
  const { log, lines } = capture();
  log.warn("Store is silent", { store: "etcd", tries: 3, down: true, gone: undefined, at: "a b" });
  assert.deepEqual(lines, [
    '2026-08-14T12:00:00.000Z warn  Store is silent store=etcd tries=3 down=true at="a b"\n',
  ]);
});

Deno.test("Log: a JSON line is one object", () => {
  const { log, lines } = capture({ format: "json" });
  log.with({ store: "etcd" }).info("Found lease", { subnet: "10.3.1.0/24", x: null });
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [{
    time: "2026-08-14T12:00:00.000Z",
    level: "info",
    message: "Found lease",
    store: "etcd",
    subnet: "10.3.1.0/24",
    x: null,
  }]);
});

for (const [i, level] of LEVELS.entries()) {
  Deno.test(`Log: level ${level} drops what matters less, in children too`, () => {
    const { log, lines } = capture({ level });
    for (const each of [log, log.with({ child: true })]) {
      for (const name of LEVELS) each[name]("x");
    }
    assert.equal(lines.length, 2 * (LEVELS.length - i));
  });
}

Deno.test("Log: secrets are not shown, in either format", () => {
  for (const format of ["text", "json"] as const) {
    const { log, lines } = capture({ format });
    log.with({ "etcd-password": "hunter2" }).info("Flags", { authToken: "hunter3", user: "root" });
    assert.doesNotMatch(lines.join(""), /hunter/);
    assert.match(lines.join(""), /root/);
  }
});

Deno.test("property: whatever is logged, one call is one line that cannot be forged", () => {
  const nasty = fc.oneof(
    fc.string(),
    fc.constantFrom("a\nb", 'a" b="c', "a=b", "\u2028", "\x1b[", "\x85", "\x7f"),
  );
  for (const format of ["text", "json"] as const) {
    fc.assert(fc.property(nasty, nasty, (message, value) => {
      const { log, lines } = capture({ format });
      log.info(message, { first: value, second: 2 });
      assert.equal(lines.length, 1);
      const line = lines[0]!;
      assert.equal(line.indexOf("\n"), line.length - 1);
      assert.doesNotMatch(line.slice(0, -1), /\p{Cc}/u);
      if (format === "json") {
        const { first, message: said } = JSON.parse(line);
        assert.deepEqual([first, said], [value, message]);
      } else assert.ok(line.endsWith(" second=2\n"));
    }));
  }
});
