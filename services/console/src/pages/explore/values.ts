import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { numberOf, tableOf } from "../../api/values";
import { type Answer, useAnswer } from "../../lib/answer";
import { useSession } from "../../lib/session";

const DAYS_30_MS = 2_592_000_000;

/** The values that a field had most often of late, each with how often. */
export function useValues(appId: string, field: string | undefined): Answer<readonly (readonly [string, number])[]> {
  const { api } = useSession();
  return useAnswer(field === undefined || field === "" ? undefined : `${appId} ${field}`, async (signal) => {
    const { result } = await api.query.query(
      {
        query: {
          appId,
          measures: [{ name: "n", formula: "COUNT(*)" }],
          dimensions: [{ name: "value", expression: field ?? "" }],
          range: { last: durationFromMs(DAYS_30_MS) },
          orderBy: [{ column: "n", descending: true }],
          limit: 100,
        },
      },
      { signal },
    );
    return tableOf(result).rows.flatMap(([value, n]) =>
      typeof value === "string" && value !== "" ? [[value, numberOf(n) ?? 0] as const] : [],
    );
  });
}
