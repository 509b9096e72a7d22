/** The demo as its users run it, and the lab that `--keep` leaves. */

import assert from "node:assert/strict";
import { run } from "./command.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

Deno.test("demo: all passes, and a lab that is kept can be entered as it says", async () => {
  // /run is the test's alone, so this lab is not the one that somebody may look at just now.
  const demo = await run([`${ROOT}tools/demo`, "--keep"], { seconds: 300 });
  try {
    assert.equal(demo.code, 0, demo.stdout + demo.stderr);
    assert.match(demo.stdout, /^\d+ passed, 0 failed, in [\d.]+ s$/m);
    assert.ok(!demo.stdout.includes("\x1b"), "no colours where nobody sees them");
    const commands = [...demo.stdout.matchAll(/^ +(nsenter .*) bash {2}# (\S+)$/gm)];
    assert.deepEqual(commands.map(([, , name]) => name), ["control-plane", "worker", "worker2"]);
    for (const [, enter, name] of commands) {
      const words = ["hostname; cat /run/flannel/subnet.env; twill inspect peers"];
      const { code, stdout, stderr } = await run(
        [...enter!.split(" "), "bash", "-ec", ...words] as unknown as [string],
      );
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, new RegExp(`^${name}\nFLANNEL_NETWORK=`));
    }
    const logs = /^ +(\/proc\/\S+)\/\*\.daemon\.\*\.log$/m.exec(demo.stdout)?.[1];
    assert.ok([...Deno.readDirSync(logs!)].some(({ name }) => /\.daemon\.\d+\.log$/.test(name)));
  } finally {
    const { code, stderr } = await run([`${ROOT}tools/demo`, "--stop"]);
    assert.equal(code, 0, stderr);
  }
});
