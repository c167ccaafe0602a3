import { useCallback, useRef, useState } from "react";
import type { App } from "../../api/access";
import { type Fault, faultOf, inText, isAborted } from "../../api/fault";
import { tableOf } from "../../api/values";
import { DataTable } from "../../charts/table";
import type { Result } from "../../gen/penstock/v1/common_pb";
import type { ExplainResponse } from "../../gen/penstock/v1/query_pb";
import { useSchema } from "../../lib/schema";
import { useSession } from "../../lib/session";
import { read, write } from "../../lib/store";
import { Button } from "../../ui/button";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Failed, Waiting } from "../../ui/states";
import { Origin } from "../explore/result";
import { Editor, type Mistake } from "./editor";
import { Explained } from "./explained";

const FIRST = `SELECT event_type, COUNT(*) AS events, COUNT(DISTINCT user_id) AS users
FROM events
WHERE timestamp > now() - INTERVAL 7 DAY
GROUP BY event_type
ORDER BY events DESC`;

type Shown =
  | { is: "nothing" }
  | { is: "waiting"; what: string }
  | { is: "rows"; result: Result | undefined }
  | { is: "plan"; plan: ExplainResponse }
  | { is: "fault"; fault: Fault };

export function Sql({ app }: { app: App }) {
  const { api } = useSession();
  const schema = useSchema(app.id);
  const name = `penstock.sql.${app.id}`;
  const [text, setText] = useState(() => read(window.sessionStorage, name) ?? FIRST);
  const [shown, setShown] = useState<Shown>({ is: "nothing" });
  const running = useRef<AbortController>(undefined);
  const now = useRef(text);
  now.current = text;

  const edit = (next: string) => {
    setText(next);
    write(window.sessionStorage, name, next);
  };

  const start = async (what: string, ask: (signal: AbortSignal) => Promise<Shown>) => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setShown({ is: "waiting", what });
    try {
      const next = await ask(abort.signal);
      if (!abort.signal.aborted) setShown(next);
    } catch (error) {
      if (!abort.signal.aborted && !isAborted(error)) setShown({ is: "fault", fault: faultOf(error) });
    }
  };
  const run = () =>
    start("Running", async (signal) => {
      const { result } = await api.query.sql(
        { sql: now.current, appId: app.id, options: { timeZone: app.zone } },
        { signal },
      );
      return { is: "rows", result };
    });
  const explain = (analyze: boolean) =>
    start(analyze ? "Analyzing" : "Explaining", async (signal) => ({
      is: "plan",
      plan: await api.query.explain({ ...asked(now.current, app), analyze }, { signal }),
    }));

  /** What is wrong with the text, without running it. */
  const check = useCallback(
    async (sql: string, signal: AbortSignal): Promise<readonly Mistake[]> => {
      if (sql.trim() === "") return [];
      try {
        await api.query.explain(asked(sql, app), { signal });
        return [];
      } catch (error) {
        const wrong = faultOf(error);
        if (wrong.violations.length === 0) return [];
        const span = wrong.span === undefined ? { start: 0, end: sql.length } : inText(sql, wrong.span);
        return wrong.violations.map(({ description }) => ({ from: span.start, to: span.end, message: description }));
      }
    },
    [api, app],
  );

  return (
    <>
      <PageHead
        title="SQL"
        about="A SELECT over events and users. It is compiled, never passed through; what it can't say is refused with its place."
      />
      <Panel className="sql">
        <Editor
          label="SQL"
          text={text}
          fields={schema.value ?? []}
          check={check}
          onChange={edit}
          onRun={() => void run()}
        />
        <div className="toolbar">
          <Button kind="primary" icon="play" onClick={() => void run()} disabled={text.trim() === ""}>
            Run
          </Button>
          <Button onClick={() => void explain(false)} disabled={text.trim() === ""}>
            Explain
          </Button>
          <Button onClick={() => void explain(true)} disabled={text.trim() === ""}>
            Analyze
          </Button>
          {shown.is === "waiting" && (
            <Button
              kind="quiet"
              onClick={() => {
                running.current?.abort();
                setShown({ is: "nothing" });
              }}
            >
              Stop
            </Button>
          )}
          <span className="hint">
            <kbd>Ctrl</kbd> <kbd>Enter</kbd> runs it, <kbd>Ctrl</kbd> <kbd>Space</kbd> completes
          </span>
        </div>
      </Panel>
      <Panel className="answer">
        <Outcome shown={shown} zone={app.zone} again={() => void run()} />
      </Panel>
    </>
  );
}

function asked(sql: string, app: App) {
  return { question: { case: "sql" as const, value: { sql, appId: app.id } }, options: { timeZone: app.zone } };
}

function Outcome({ shown, zone, again }: { shown: Shown; zone: string; again(): void }) {
  switch (shown.is) {
    case "nothing":
      return (
        <Empty icon="sql" title="Nothing was run yet">
          <p>
            Run the question to see its rows, or have it explained to see how it would be answered, and analyzed to see
            what that takes.
          </p>
        </Empty>
      );
    case "waiting":
      return <Waiting what={shown.what} />;
    case "fault":
      return <Failed fault={shown.fault} {...(shown.fault.violations.length === 0 ? { again } : {})} />;
    case "plan":
      return <Explained plan={shown.plan} />;
    case "rows": {
      const table = tableOf(shown.result);
      return (
        <>
          {table.rows.length === 0 && (
            <Empty icon="table" title="No rows">
              <p>The question is right, and no event answers it. Is the range long enough?</p>
            </Empty>
          )}
          <DataTable table={table} label="Rows" zone={zone} file="sql" />
          <Origin result={shown.result} zone={zone} />
        </>
      );
    }
  }
}
