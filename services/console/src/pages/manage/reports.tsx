import { timestampDate } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import type { App } from "../../api/access";
import { type Fault, faultOf } from "../../api/fault";
import { tableOf } from "../../api/values";
import { DataTable } from "../../charts/table";
import type { Report } from "../../gen/penstock/v1/admin_pb";
import { useAnswer, useAnswerEvery } from "../../lib/answer";
import { instant } from "../../lib/format";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input } from "../../ui/field";
import { DialogForm } from "../../ui/form";
import { List as ListTable } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Failed, Listed, Waiting, Wrong } from "../../ui/states";

/** Questions that are asked again and again. */
export function Reports({ app }: { app: App }) {
  const { api, may } = useSession();
  const reports = useAnswer("reports", async (signal) => (await api.admin.listReports({}, { signal })).reports);
  const [isMaking, setMaking] = useState(false);
  const [shown, setShown] = useState<Report>();
  const [fault, setFault] = useState<Fault>();
  const remove = async ({ reportId, displayName }: Report) => {
    if (!window.confirm(`Forget the report ${displayName || reportId} and all its answers?`)) return;
    try {
      await api.admin.deleteReport({ reportId });
      reports.again();
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  return (
    <>
      <PageHead
        title="Reports"
        about="A question asked by schedule, under the key that made it; answers are kept, and posted where they are wanted."
      >
        {may("query") && (
          <Button kind="primary" icon="plus" onClick={() => setMaking(true)}>
            New report
          </Button>
        )}
      </PageHead>
      <Wrong text={fault?.message} />
      <Panel>
        <Listed
          answer={reports}
          empty={
            <Empty icon="report" title="No report yet">
              <p>Have a question answered every morning, before anybody asks.</p>
            </Empty>
          }
        >
          {(reports) => (
            <ListTable label="Reports">
              <thead>
                <tr>
                  <th scope="col">Report</th>
                  <th scope="col">When</th>
                  <th scope="col">Next, UTC</th>
                  <th scope="col">
                    <span className="unseen">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {reports.map((report) => (
                  <tr key={report.reportId}>
                    <th scope="row">
                      <strong>{report.displayName || report.reportId}</strong>
                      <code>{report.appId}</code>
                    </th>
                    <td>
                      <code>{report.schedule}</code> <small>{report.timeZone || "UTC"}</small>
                    </td>
                    <td>
                      {report.ended !== ""
                        ? `ended: ${report.ended}`
                        : report.nextRunAt
                          ? instant(timestampDate(report.nextRunAt), "UTC")
                          : "–"}
                    </td>
                    <td className="actions">
                      {may("query") && (
                        <Button kind="quiet" onClick={() => setShown(report)}>
                          Answers
                        </Button>
                      )}
                      <Button
                        kind="quiet"
                        icon="trash"
                        aria-label={`Forget ${report.displayName || report.reportId}`}
                        onClick={() => void remove(report)}
                      />
                    </td>
                  </tr>
                ))}
              </tbody>
            </ListTable>
          )}
        </Listed>
      </Panel>
      {shown !== undefined && <Runs key={shown.reportId} report={shown} />}
      {isMaking && (
        <Dialog title="New report" onClose={() => setMaking(false)}>
          <Make
            app={app}
            onMade={() => {
              setMaking(false);
              reports.again();
            }}
          />
        </Dialog>
      )}
    </>
  );
}

function Runs({ report }: { report: Report }) {
  const { api } = useSession();
  // An answer is there within a minute of when it was due, and somebody may wait for it.
  const runs = useAnswerEvery(
    report.reportId,
    async (signal) => (await api.admin.listReportRuns({ reportId: report.reportId }, { signal })).runs,
  );
  const last = runs.value?.[0];
  return (
    <Panel title={`Last answer of ${report.displayName || report.reportId}`}>
      {runs.fault !== undefined && <Failed fault={runs.fault} again={runs.again} />}
      {runs.fault === undefined && runs.value === undefined && <Waiting />}
      {runs.value !== undefined && last?.result === undefined && (
        <Empty icon="report" title="No answer yet">
          <p>{last?.failure || "It comes when the report is due for the first time."}</p>
        </Empty>
      )}
      {last?.result !== undefined && (
        <>
          <DataTable table={tableOf(last.result)} label="Last answer" zone={report.timeZone || "UTC"} file="report" />
          <p className="origin">
            due {last.scheduledAt ? instant(timestampDate(last.scheduledAt), "UTC") : "–"} UTC
            {last.deliveries > 0 && ` · sent ${last.deliveries} times`}
            {last.deliveryFailure !== "" && ` · ${last.deliveryFailure}`}
          </p>
        </>
      )}
    </Panel>
  );
}

function Make({ app, onMade }: { app: App; onMade(): void }) {
  const { api } = useSession();
  const [report, setReport] = useState({ displayName: "", schedule: "30 6 * * mon-fri", webhookUrl: "" });
  const [sql, setSql] = useState(
    "SELECT event_type, COUNT(*) AS events FROM events WHERE timestamp > now() - INTERVAL 1 DAY GROUP BY event_type",
  );
  const submit = async () => {
    const question = { question: { case: "sql" as const, value: { sql, appId: app.id } } };
    await api.admin.createReport({ report: { ...report, appId: app.id, timeZone: app.zone, question } });
    onMade();
  };
  return (
    <DialogForm label="Add the report" onSubmit={submit}>
      <Input
        label="Name"
        placeholder="Events of yesterday"
        value={report.displayName}
        onChange={(event) => setReport({ ...report, displayName: event.target.value })}
      />
      <Input
        label="When"
        className="mono"
        hint={`As cron says it: minute, hour, day, month, weekday, by the clock of ${app.zone}.`}
        value={report.schedule}
        onChange={(event) => setReport({ ...report, schedule: event.target.value })}
      />
      <label className="field">
        <span className="label">Question, in SQL</span>
        <textarea
          className="input mono"
          rows={4}
          spellCheck={false}
          value={sql}
          onChange={(event) => setSql(event.target.value)}
        />
      </label>
      <Input
        label="Post answers to"
        placeholder="https://example.com/hook, or nowhere"
        value={report.webhookUrl}
        onChange={(event) => setReport({ ...report, webhookUrl: event.target.value })}
      />
    </DialogForm>
  );
}
