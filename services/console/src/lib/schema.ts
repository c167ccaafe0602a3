import { type Answer, useAnswer } from "./answer";
import { type Field, fieldsOf } from "./fields";
import { useSession } from "./session";

export function useSchema(appId: string | undefined): Answer<readonly Field[]> {
  const { api } = useSession();
  return useAnswer(appId, async (signal) => fieldsOf(await api.query.describe({ appId: appId ?? "" }, { signal })));
}
