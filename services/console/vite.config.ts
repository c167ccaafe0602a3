import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import { world } from "./world.ts";

const WORTH_BYTES = 1_024;

/** Puts each text file's compressed forms beside it, so that the gateway only ever sends bytes. */
function packed(dir: string): Plugin {
  const walk = (at: string): string[] =>
    readdirSync(at).flatMap((name) => {
      const path = join(at, name);
      return statSync(path).isDirectory() ? walk(path) : [path];
    });
  return {
    name: "packed",
    apply: "build",
    closeBundle() {
      for (const path of walk(dir).filter((name) => /\.(html|js|css|svg|json)$/.test(name))) {
        const plain = readFileSync(path);
        if (plain.length < WORTH_BYTES) continue;
        writeFileSync(`${path}.br`, brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
        writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
      }
    },
  };
}

/** `npm run dev` shows the console as it is written, on a server that runs already. */
const server = process.env.PENSTOCK_SERVER ?? "http://127.0.0.1:7070";
const proxy = Object.fromEntries(["/v1/", "/penstock.v1."].map((path) => [path, server]));

export default defineConfig({
  base: "/console/",
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      checks: { pluginTimings: false },
      // What other pages load has a name that stays.
      input: {
        index: "index.html",
        "penstock-chart": "src/embed/element.ts",
        "penstock-dashboard": "src/embed/dashboard.ts",
      },
      output: {
        entryFileNames: ({ name }) => (name.startsWith("penstock-") ? "[name].js" : "assets/[name]-[hash].js"),
      },
    },
  },
  server: { proxy },
  preview: { proxy },
  plugins: [world(), packed("dist")],
});
