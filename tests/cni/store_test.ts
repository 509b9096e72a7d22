import assert from "node:assert/strict";
import { remember } from "../../cni/host_local/owners.ts";
import { Store } from "../../cni/host_local/store.ts";
import { parseIp } from "../../engine/ip.ts";

const [A, B] = [parseIp("10.1.2.2"), parseIp("10.1.2.3")];
const [one, two] = [{ containerId: "c1", ifname: "eth0" }, { containerId: "c2", ifname: "eth0" }];

async function inStore<T>(dir: string, work: (store: Store) => T): Promise<T> {
  using store = await Store.open(dir, true);
  return work(store);
}

/** A store in which A is `one`'s, and was looked at. */
async function makeStore(): Promise<string> {
  const dir = Deno.makeTempDirSync({ prefix: "twill-store-" });
  await inStore(dir, (store) => assert.ok(store.reserve(A, one)));
  await inStore(dir, (store) => assert.deepEqual(store.ownedBy(one), [A]));
  // Longer than the kernel's tick, by which it counts the time of a change.
  await new Promise((resolve) => setTimeout(resolve, 20));
  return dir;
}

Deno.test("Store: what another program changed is seen", async () => {
  const dir = await makeStore();
  try {
    Deno.removeSync(`${dir}/${A}`);
    Deno.writeTextFileSync(`${dir}/${A}`, "c2\r\neth0");
    Deno.writeTextFileSync(`${dir}/${B}`, "c1\r\neth0");
    await inStore(dir, (store) => {
      assert.deepEqual([store.ownedBy(one), store.ownedBy(two)], [[B], [A]]);
      assert.deepEqual(store.taken(), new Set([A, B]));
    });
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("Store: its own changes are seen", async () => {
  const dir = await makeStore();
  try {
    await inStore(dir, (store) => {
      assert.ok(store.reserve(B, two));
      assert.deepEqual(store.ownedBy(two), [B]);
      store.release(A);
      assert.deepEqual([store.ownedBy(one), [...store.taken()]], [[], [B]]);
    });
    await inStore(dir, (store) => assert.deepEqual(store.ownedBy(two), [B]));
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("Store: what is given back is not what is only remembered", async () => {
  const dir = await makeStore();
  try {
    Deno.writeTextFileSync(`${dir}/${B}`, "c2\r\neth0");
    // As when another program changes it in the same tick as we do.
    remember(dir, new Map([[A, "c2\r\neth0"], [B, "c1\r\neth0"]]));
    await inStore(dir, (store) => assert.deepEqual(store.surelyOwnedBy(one), [A]));
    remember(dir, new Map([[A, ""], [B, "c2\r\neth0"]]));
    await inStore(dir, (store) => assert.deepEqual(store.surelyOwnedBy(one), [A]));
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
