// The library as WebAssembly, in each thread: src/web.rs.

/** Memory that threads share, of 4 GiB at most, or what the device gives. The first size is build.sh's. */
export function shared() {
  for (let maximum = 1 << 16; ; maximum >>= 1) {
    try {
      return new WebAssembly.Memory({ initial: (32 << 20) / 65536, maximum, shared: true });
    } catch (error) {
      if (maximum <= 1 << 13) throw error;
    }
  }
}

/** What the library offers to a thread; `page` is what it calls. */
export async function instantiate(module, memory, page) {
  const given = { page, env: { memory } };
  // Random numbers by wasm-bindgen, which the crate `zip` brings for archives that are encrypted: those are not read.
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    if (from.startsWith('__wbindgen')) (given[from] ??= {})[name] = () => { throw new Error(`${name} is not there`); };
  }
  return (await WebAssembly.instantiate(module, given)).exports;
}

/** Seconds since 1970. */
export const now = () => Date.now() / 1000;
