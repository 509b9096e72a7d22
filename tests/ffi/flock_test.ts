import assert from "node:assert/strict";
import { Flock, openLockFile } from "../../ffi/flock.ts";

Deno.test("Flock: one at a time; the other polls without blocking this thread", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    const order: string[] = [];
    const first = await Flock.acquire(`${dir}/lock`, false);
    const second = Flock.acquire(`${dir}/lock`, false).then((lock) => {
      order.push("second");
      lock[Symbol.dispose]();
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    order.push("first gives it back");
    first[Symbol.dispose]();
    await second;
    assert.deepEqual(order, ["first gives it back", "second"]);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("Flock: callers of one process take turns, in the order of arrival", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    const order: number[] = [];
    await Promise.all(Array.from({ length: 50 }, async (_, n) => {
      using _lock = await Flock.acquire(`${dir}/lock`, false);
      order.push(n);
      await Promise.resolve();
    }));
    assert.deepEqual(order, Array.from({ length: 50 }, (_, n) => n));
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("Flock: waits for another program, and then nobody else gets in", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    const script = 'exec 9<"$0" && flock 9 && echo locked && sleep 0.2';
    Deno.writeTextFileSync(`${dir}/lock`, "");
    const holder = new Deno.Command("sh", { args: ["-c", script, `${dir}/lock`], stdout: "piped" })
      .spawn();
    const reader = holder.stdout.getReader();
    await reader.read();
    using _lock = await Flock.acquire(`${dir}/lock`, true);
    const shared = new Deno.Command("flock", { args: ["-n", "-s", `${dir}/lock`, "true"] });
    assert.equal(shared.outputSync().code, 1);
    await reader.cancel();
    await holder.status;
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("Flock: other programs see it", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    using _lock = await Flock.acquire(`${dir}/lock`, true);
    const { code } = new Deno.Command("flock", { args: ["-n", `${dir}/lock`, "true"] })
      .outputSync();
    assert.equal(code, 1);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("openLockFile: a file in a directory that does not exist", () => {
  assert.throws(() => openLockFile("/nonexistent/lock"), { name: "OpError", code: 5 });
});
