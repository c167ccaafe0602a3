import { timestampDate } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import { type Fault, faultOf } from "../../api/fault";
import type { AuditEntry, VerifyAuditResponse } from "../../gen/penstock/v1/admin_pb";
import { useAnswer } from "../../lib/answer";
import { instant } from "../../lib/format";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Combobox } from "../../ui/combobox";
import { List as ListTable } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Failed, Waiting } from "../../ui/states";

const PAGE = 50;
const METHODS = [
  "CreateKey",
  "RevokeKey",
  "RotateKey",
  "CreateTenant",
  "CreateApp",
  "SetSettings",
  "SetTenantQuota",
  "SetTenantRetention",
  "SetBranding",
  "SetTenantDomains",
  "EraseUser",
  "CreateReport",
  "DeleteReport",
];
const CHOICES = [
  ...METHODS.map((method) => ({ value: `AdminService/${method}` })),
  ...["CreateMetric", "UpdateMetric", "DeleteMetric"].map((method) => ({ value: `MetricsService/${method}` })),
  ...["PutDashboard", "DeleteDashboard"].map((method) => ({ value: `DashboardService/${method}` })),
  { value: "QueryService/Export" },
];

/** Who changed what, and whether the log is whole. */
export function Audit() {
  const { api } = useSession();
  const [method, setMethod] = useState("");
  const [tokens, setTokens] = useState<readonly string[]>([""]);
  const token = tokens.at(-1) ?? "";
  const log = useAnswer(`${method} ${token}`, async (signal) =>
    api.admin.listAuditEntries({ method, pageToken: token, pageSize: PAGE }, { signal }),
  );
  const next = log.value?.nextPageToken ?? "";
  return (
    <>
      <PageHead
        title="Audit"
        about="Every change and every export, with who, what and from where. Entries are chained by hashes: one that was changed or taken out shows."
      >
        <Verify />
      </PageHead>
      <Panel>
        <div className="toolbar">
          <Combobox
            label="Method"
            value={method}
            placeholder="every method"
            choices={[{ value: "" }, ...CHOICES]}
            isFree
            className="method"
            onChange={(chosen) => {
              setMethod(chosen);
              setTokens([""]);
            }}
          />
        </div>
        {log.fault !== undefined && !log.isWaiting && <Failed fault={log.fault} again={log.again} />}
        {log.value === undefined && log.fault === undefined && <Waiting />}
        {log.value?.entries.length === 0 && (
          <Empty icon="audit" title="No entry">
            <p>Nothing was changed by {method === "" ? "anybody" : method} that this key may see.</p>
          </Empty>
        )}
        {(log.value?.entries.length ?? 0) > 0 && <Entries entries={log.value?.entries ?? []} />}
        {(tokens.length > 1 || next !== "") && (
          <footer className="data-foot">
            <Button kind="quiet" disabled={tokens.length === 1} onClick={() => setTokens(tokens.slice(0, -1))}>
              Newer
            </Button>
            <Button kind="quiet" disabled={next === ""} onClick={() => setTokens([...tokens, next])}>
              Older
            </Button>
          </footer>
        )}
      </Panel>
    </>
  );
}

function Entries({ entries }: { entries: readonly AuditEntry[] }) {
  return (
    <ListTable label="Entries">
      <thead>
        <tr>
          <th scope="col">When, UTC</th>
          <th scope="col">What</th>
          <th scope="col">To what</th>
          <th scope="col">By</th>
          <th scope="col">Change</th>
        </tr>
      </thead>
      <tbody>
        {entries.map((entry) => (
          <tr key={String(entry.sequence)}>
            <td className="when">{entry.at ? instant(timestampDate(entry.at), "UTC") : "–"}</td>
            <td>
              <strong>{entry.method.split("/").at(-1)}</strong>
            </td>
            <td>
              <code>{entry.object}</code>
            </td>
            <td>
              <code>{entry.keyId || "the program"}</code>
              {entry.address !== "" && <small>{entry.address}</small>}
            </td>
            <td>
              <details>
                <summary>show</summary>
                {entry.before !== "" && <pre>− {entry.before}</pre>}
                {entry.after !== "" && <pre>+ {entry.after}</pre>}
                <small>
                  entry {String(entry.sequence)}, hash {entry.hash.slice(0, 16)}…
                </small>
              </details>
            </td>
          </tr>
        ))}
      </tbody>
    </ListTable>
  );
}

function Verify() {
  const { api } = useSession();
  const [said, setSaid] = useState<VerifyAuditResponse | Fault | "waiting">();
  const verify = async () => {
    setSaid("waiting");
    try {
      setSaid(await api.admin.verifyAudit({}));
    } catch (error) {
      setSaid(faultOf(error));
    }
  };
  return (
    <>
      {said !== undefined && said !== "waiting" && (
        <span className={`verdict ${"violations" in said || said.brokenSequence > 0n ? "down" : "up"}`} role="status">
          {"violations" in said
            ? said.message
            : said.brokenSequence > 0n
              ? `Entry ${said.brokenSequence} doesn't hold: ${said.brokenReason}`
              : `All ${said.entries} entries hold together`}
        </span>
      )}
      <Button icon="audit" disabled={said === "waiting"} onClick={() => void verify()}>
        {said === "waiting" ? "Verifying…" : "Verify"}
      </Button>
    </>
  );
}
