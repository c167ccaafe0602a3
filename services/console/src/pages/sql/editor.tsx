import {
  autocompletion,
  type CompletionContext,
  type CompletionResult,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { SQLDialect, sql } from "@codemirror/lang-sql";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, linter, lintKeymap } from "@codemirror/lint";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { type RefObject, useEffect, useRef } from "react";
import type { Field } from "../../lib/fields";
import "@fontsource-variable/jetbrains-mono/wght.css";
import { FUNCTIONS } from "./functions";

export interface Mistake {
  readonly from: number;
  readonly to: number;
  readonly message: string;
}

interface Props {
  /** What is written in it. */
  label: string;
  text: string;
  fields: readonly Field[];
  /** Metrics that a formula can name in braces. */
  metrics?: readonly string[];
  check(text: string, signal: AbortSignal): Promise<readonly Mistake[]>;
  onChange(text: string): void;
  onRun?(): void;
}

type Calls = Pick<Props, "check" | "onChange" | "onRun">;

const CHECK_MS = 500;
const NONE: readonly string[] = [];

function runs(calls: RefObject<Calls>): () => boolean {
  return () => {
    calls.current.onRun?.();
    return true;
  };
}

/**
 * The editor stands in a shadow root of its own: its styles are constructed there, so that the page's policy needs no exception for inline ones.
 */
export function Editor({ label, text, fields, metrics = NONE, check, onChange, onRun }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const completion = useRef(new Compartment());
  const made: Calls = { check, onChange, ...(onRun ? { onRun } : {}) };
  const calls = useRef<Calls>(made);
  calls.current = made;
  const first = useRef({ text, label });
  // What is run has lines; a formula is one.
  const hasLines = useRef(onRun !== undefined);

  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const abort = new AbortController();
    const editor = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: first.current.text,
        extensions: [
          hasLines.current ? lineNumbers() : [],
          history(),
          drawSelection(),
          highlightActiveLine(),
          bracketMatching(),
          EditorView.lineWrapping,
          keymap.of([
            { key: "Mod-Enter", run: runs(calls), preventDefault: true },
            ...completionKeymap,
            ...lintKeymap,
            ...historyKeymap,
            ...defaultKeymap,
          ]),
          sql({ dialect: DIALECT }),
          completion.current.of([]),
          syntaxHighlighting(COLOURS),
          THEME,
          TYPING,
          EditorView.contentAttributes.of({ "aria-label": first.current.label, "aria-multiline": "true" }),
          linter(
            async (shown) =>
              (await calls.current.check(shown.state.doc.toString(), abort.signal)).map(diagnostic(shown)),
            { delay: CHECK_MS },
          ),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) calls.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => {
      abort.abort();
      editor.destroy();
    };
  }, []);

  useEffect(() => {
    const source = completing(fields, metrics);
    view.current?.dispatch({
      effects: completion.current.reconfigure(autocompletion({ override: [source], icons: false })),
    });
  }, [fields, metrics]);

  return <div ref={host} className="editor" />;
}

function diagnostic(view: EditorView): (mistake: Mistake) => Diagnostic {
  const { length } = view.state.doc;
  return ({ from, to, message }) => ({
    from: Math.min(from, length),
    to: Math.min(to, length),
    message,
    severity: "error",
  });
}

/** Typing over a selection, in the editor's own way: the browser's would keep the look of what goes by an inline style, which the page's policy forbids. */
const TYPING = EditorView.domEventHandlers({
  beforeinput(event, view) {
    if (event.inputType !== "insertText" || event.data === null || view.state.selection.main.empty) return false;
    view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    return true;
  },
});

const WORDS =
  "SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET AS AND OR NOT IN LIKE BETWEEN IS NULL DISTINCT CASE WHEN THEN ELSE END WITH JOIN LEFT ON UNION ALL OVER PARTITION INTERVAL DAY HOUR MINUTE WEEK MONTH DESC ASC FILTER".split(
    " ",
  );

const DIALECT = SQLDialect.define({
  keywords: WORDS.join(" ").toLowerCase(),
  builtin: FUNCTIONS.map(({ name }) => name.toLowerCase()).join(" "),
  types: "",
});

function completing(fields: readonly Field[], metrics: readonly string[]) {
  const options = [
    ...fields.map(({ text, kind, isProperty }) => ({
      label: text,
      type: "property",
      detail: isProperty ? kind : `${kind}, of every event`,
      boost: 3,
    })),
    ...["events", "users"].map((label) => ({ label, type: "class", detail: "table", boost: 2 })),
    ...FUNCTIONS.map(({ name, shape, about }) => ({
      label: name,
      type: "function",
      detail: shape,
      info: about,
      apply: `${name}(`,
      boost: 1,
    })),
    ...WORDS.map((label) => ({ label, type: "keyword" })),
  ];
  return (context: CompletionContext): CompletionResult | null => {
    const brace = context.matchBefore(/\{\w*/);
    if (brace !== null) {
      const named = metrics.map((name) => ({ label: `{${name}}`, type: "variable", detail: "metric" }));
      return { from: brace.from, options: named, validFor: /^\{\w*$/ };
    }
    const word = context.matchBefore(/[\w"]+/);
    if (word === null && !context.explicit) return null;
    return { from: word?.from ?? context.pos, options, validFor: /^[\w"]*$/ };
  };
}

const COLOURS = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--code-word)", fontWeight: "500" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--code-text)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--ink-3)", fontStyle: "italic" },
  { tag: tags.standard(tags.name), color: "var(--code-name)" },
]);

const THEME = EditorView.theme({
  "&": {
    fontSize: "13px",
    color: "var(--ink)",
    backgroundColor: "var(--raised)",
    minHeight: "var(--editor-height, 168px)",
    maxHeight: "46vh",
  },
  "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", overflow: "auto" },
  ".cm-content": { padding: "12px 0", caretColor: "var(--ink)" },
  ".cm-line": { padding: "0 16px 0 8px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--ink-3)", border: "none", paddingLeft: "8px" },
  ".cm-activeLine": { backgroundColor: "var(--tint)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--chosen)",
  },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--chosen)", outline: "none" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--wrong)",
    textUnderlineOffset: "4px",
  },
  ".cm-tooltip": {
    backgroundColor: "var(--raised)",
    color: "var(--ink)",
    border: "1px solid var(--line-strong)",
    borderRadius: "6px",
    boxShadow: "var(--shadow)",
    overflow: "hidden",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "12px", maxHeight: "240px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 12px" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--chosen)", color: "var(--ink)" },
  ".cm-completionDetail": { color: "var(--ink-2)", fontStyle: "normal", marginLeft: "12px" },
  ".cm-completionInfo": { fontFamily: "var(--font)", fontSize: "12px", padding: "8px 12px", maxWidth: "320px" },
  ".cm-diagnostic-error": { borderLeft: "3px solid var(--wrong)", padding: "6px 12px", fontFamily: "var(--font)" },
});
