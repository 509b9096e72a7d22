import assert from "node:assert/strict";
import { inspect } from "../scene.ts";

Deno.test("capture: --help has real examples", async (t) => {
  const outcome = await inspect("capture --help");
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stdout.match(/^ {2}twill inspect .* # /gm)?.length, 3);
  await t.assertSnapshot(outcome.stdout);
});

const USAGE: Readonly<Record<string, RegExp>> = {
  "-o yaml": /"yaml".*table\|wide\|json/,
  "--port 0": /port.*want a port from 1 to 65535, got "0"/,
  "--proto http": /"http".*tcp\|udp\|icmp\|icmp6\|sctp\|arp/,
  "--host web": /host.*"web"/,
  "-n 0": /want a number of packets from 1/,
  "--duration soon": /want a time such as 30s/,
  "--snaplen 10": /want a number of bytes from 128 to 262144, got "10"/,
  "--as-47": /no flag --as-47; did you mean --as-4789\?/,
};

for (const [words, message] of Object.entries(USAGE)) {
  Deno.test(`capture: ${words} is wrong usage`, async () => {
    const outcome = await inspect(`capture ${words}`);
    assert.equal(outcome.code, 2);
    assert.equal(outcome.stdout, "");
    assert.match(outcome.stderr, message);
  });
}

Deno.test("capture: without the right to it, that is said at once", async () => {
  const outcome = await inspect("capture --pod web", { rights: [] });
  assert.deepEqual(outcome, {
    code: 3,
    stdout: "",
    stderr: "Cannot capture packets: this needs root, or CAP_NET_RAW\n" +
      "Run the same command as root (sudo)\n",
  });
});
