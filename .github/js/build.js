/** Bundles each entry point flowviz/canvases/js/*.js into one minified module in the given folder. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const source = fileURLToPath(new URL("../../flowviz/canvases/js/", import.meta.url));

/** `import script from "./worker.js?script"` gives the bundled script of a thread as a text. */
const threads = {
  name: "threads",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\?script$/ }, ({ path, resolveDir }) =>
      ({ path: join(resolveDir, path.replace("?script", "")), namespace: "script" }));
    onLoad({ filter: /./, namespace: "script" }, async ({ path }) => {
      const options = { bundle: true, minify: true, format: "iife", charset: "utf8", target: "es2022" };
      const { outputFiles } = await build({ entryPoints: [path], write: false, ...options });
      return { contents: outputFiles[0].text, loader: "text" };
    });
  },
};

await build({
  entryPoints: readdirSync(source).filter((name) => name.endsWith(".js")).map((name) => source + name),
  outdir: process.argv[2],
  bundle: true,
  minify: true,
  format: "esm",
  plugins: [threads],
  charset: "utf8",
  target: "es2022",
  // Streamlit takes a text without a line break for the name of a file.
  banner: { js: '/* Built by "npm run build" in .github/js; edit flowviz/canvases/js instead. */' },
  logLevel: "warning",
});
