/** Scenes (the planes behind the particles) by content name, shared by all elements of the page. */

export function sceneStore(limit = 8) {
  const scenes = new Map(), carried = new Map(), listeners = new Set();
  return {
    /** A carrier now holds the scene of this name; scenes without a carrier are dropped, oldest first. */
    put(carrier, name, scene) {
      carried.set(carrier, name);
      const newest = scenes.get(name) ?? scene;
      scenes.delete(name);
      scenes.set(name, newest);
      for (const old of [...scenes.keys()]) {
        if (scenes.size <= limit) break;
        if (![...carried.values()].includes(old)) scenes.delete(old);
      }
      for (const listener of [...listeners]) listener();
    },
    drop(carrier) { carried.delete(carrier); },
    get: (name) => scenes.get(name) ?? null,
    /** Calls `listener` after each new scene; returns the function that ends this. */
    watch(listener) { listeners.add(listener); return () => listeners.delete(listener); },
  };
}

/** The bundles of player and scene are separate scripts and meet here. */
export const scenes = (globalThis[Symbol.for("flowviz.scenes")] ??= sceneStore());
