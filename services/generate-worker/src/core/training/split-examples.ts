import { createHash } from 'node:crypto';

/**
 * Which examples are for testing. Examples that share a key (an item, a picture) are one group and on one side. A group is for
 * testing when the hash of its least key falls into the first `share` of all hashes, so that it stays on its side in the next
 * export, unless another group joins it.
 */
export function splitExamples(keysOf: ReadonlyMap<string, readonly string[]>, share: number): Set<string> {
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let up = parents.get(root); up !== undefined && up !== root; up = parents.get(root)) root = up;
    for (let at = key; at !== root;) {
      const up = parents.get(at) ?? root;
      parents.set(at, root);
      at = up;
    }
    return root;
  };
  for (const keys of keysOf.values()) {
    for (const key of keys) {
      const [a, b] = [rootOf(keys[0] ?? key), rootOf(key)];
      // The least key of a group is its root.
      if (a !== b) parents.set(a < b ? b : a, a < b ? a : b);
    }
  }
  const testing = new Set<string>();
  for (const [id, keys] of keysOf) if (isForTesting(rootOf(keys[0] ?? id), share)) testing.add(id);
  return testing;
}

function isForTesting(key: string, share: number): boolean {
  return createHash('sha256').update(key).digest().readUInt32BE(0) / 2 ** 32 < share;
}
