import plot from "uplot/dist/uPlot.min.css?inline";
import map from "../styles/map.css?inline";
import tokens from "../styles/tokens.css?inline";
import css from "./element.css?inline";

/** What all elements look like; the page's own custom properties come first. */
export const sheet = new CSSStyleSheet();
sheet.replaceSync(
  [
    // As it is built, the value has no quotes.
    tokens.replaceAll(/\[data-theme="?dark"?\]/g, ':host([theme="dark"])').replaceAll(/(?<!-):root/g, ":host"),
    plot,
    map,
    css,
  ].join("\n"),
);
