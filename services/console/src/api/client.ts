import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AdminService } from "../gen/penstock/v1/admin_pb";
import { DashboardService } from "../gen/penstock/v1/dashboards_pb";
import { MetricsService } from "../gen/penstock/v1/metrics_pb";
import { QueryService } from "../gen/penstock/v1/query_pb";

/** The contracts, called with one key. */
export interface Api {
  /** Where it is: an origin. */
  readonly server: string;
  readonly query: Client<typeof QueryService>;
  readonly metrics: Client<typeof MetricsService>;
  readonly dashboards: Client<typeof DashboardService>;
  readonly admin: Client<typeof AdminService>;
}

export function connect(key: string, baseUrl: string = window.location.origin): Api {
  const signed: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const transport = createGrpcWebTransport({ baseUrl, interceptors: [signed] });
  return {
    server: new URL(baseUrl, window.location.href).origin,
    query: createClient(QueryService, transport),
    metrics: createClient(MetricsService, transport),
    dashboards: createClient(DashboardService, transport),
    admin: createClient(AdminService, transport),
  };
}
