"""The polyglot story told by grpcio's own stubs: see ../README.md."""

import json
import os

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status
from penstock.v1 import common_pb2, ingest_pb2, ingest_pb2_grpc, metrics_pb2, metrics_pb2_grpc, query_pb2, query_pb2_grpc

APP = os.environ["PENSTOCK_APP"]
CALL = {"metadata": [("authorization", f"Bearer {os.environ['PENSTOCK_KEY']}")], "timeout": 180}
# What whoever is told to come again does: a retry counts no event twice, since each has an id.
AGAIN = {
    "maxAttempts": 5,
    "initialBackoff": "1s",
    "maxBackoff": "10s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "DEADLINE_EXCEEDED"],
}
CHANNEL = [("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": AGAIN}]}))]


def main():
    with grpc.insecure_channel(os.environ["PENSTOCK_ADDRESS"], options=CHANNEL) as channel:
        ingest = ingest_pb2_grpc.IngestServiceStub(channel)
        query = query_pb2_grpc.QueryServiceStub(channel)
        metrics = metrics_pb2_grpc.MetricsServiceStub(channel)

        verdict = ingest.Publish(
            batch(purchase("e1", "u1", 12.5, 2), purchase("e2", "u2", 7.25, 3), ingest_pb2.Event(event_id="e3")), **CALL
        ).acknowledgement

        typed = query.Query(
            query_pb2.QueryRequest(
                query=query_pb2.TypedQuery(
                    app_id=APP,
                    measures=[
                        query_pb2.Measure(name="revenue", formula="SUM(amount)", unit="EUR"),
                        query_pb2.Measure(name="events", formula="COUNT(*)"),
                    ],
                    dimensions=[query_pb2.Dimension(expression="user_id")],
                    filters=[
                        common_pb2.Filter(
                            field="gift", op=common_pb2.FILTER_OP_EQ, values=[common_pb2.Value(bool=True)]
                        )
                    ],
                    order_by=[query_pb2.OrderBy(column="revenue", descending=True)],
                ),
                options=waiting(verdict.position_token),
            ),
            **CALL,
        )

        streamed = list(ingest.PublishStream(batches(), **CALL))
        for answer in streamed:  # each token covers its own batch
            sql = query.Sql(
                query_pb2.SqlRequest(
                    sql="SELECT event_type, COUNT(*) AS events, SUM(amount * quantity) AS worth, MAX(due) AS due "
                    "FROM events GROUP BY event_type ORDER BY event_type",
                    app_id=APP,
                    options=waiting(answer.acknowledgement.position_token),
                ),
                **CALL,
            )

        definition = metrics_pb2.MetricDefinition(
            name="revenue_per_user", formula="SUM(amount) / COUNT(DISTINCT user_id)", unit="EUR"
        )
        created = metrics.CreateMetric(metrics_pb2.CreateMetricRequest(app_id=APP, definition=definition), **CALL)
        evaluated = metrics.Evaluate(metrics_pb2.EvaluateRequest(app_id=APP, name="revenue_per_user"), **CALL)

        try:
            measures = [query_pb2.Measure(formula="SUM(")]
            query.Query(query_pb2.QueryRequest(query=query_pb2.TypedQuery(app_id=APP, measures=measures)), **CALL)
            refused = None
        except grpc.RpcError as error:
            refused = refusal(error)

    print(
        json.dumps(
            {
                "published": {
                    "accepted": verdict.accepted,
                    "rejections": [
                        {"index": r.index, "event_id": r.event_id, "code": r.code, "field": r.field}
                        for r in verdict.rejections
                    ],
                },
                "streamed": [[answer.sequence, answer.acknowledgement.accepted] for answer in streamed],
                "query": result(typed.result),
                "sql": result(sql.result),
                "metric": {
                    "created": created.metric.version,
                    "evaluated": evaluated.version,
                    "result": result(evaluated.result),
                },
                "refused": refused,
            }
        )
    )


def batches():
    """Two batches for one connection; the second sends an event again."""
    view = ingest_pb2.Event(event_id="e5", event_type="view", user_id="u1")
    yield ingest_pb2.PublishStreamRequest(sequence=1, batch=batch(purchase("e4", "u3", 30.5, 1)))
    yield ingest_pb2.PublishStreamRequest(sequence=2, batch=batch(purchase("e1", "u1", 12.5, 2), view))


def batch(*events):
    return ingest_pb2.PublishRequest(app_id=APP, events=events)


def purchase(event_id, user_id, amount, quantity):
    properties = {
        "amount": common_pb2.Value(number=amount),
        "quantity": common_pb2.Value(integer=quantity),
        "currency": common_pb2.Value(string="EUR"),
        "gift": common_pb2.Value(bool=True),
        "due": common_pb2.Value(time=Timestamp(seconds=1_800_000_000 + quantity)),
    }
    return ingest_pb2.Event(event_id=event_id, event_type="purchase", user_id=user_id, properties=properties)


def waiting(token):
    return common_pb2.ReadOptions(position_token=token, max_wait_ms=30_000)


def result(answer):
    columns = [[column.name, common_pb2.ColumnType.Name(column.type), column.unit] for column in answer.columns]
    return {"columns": columns, "rows": [[plain(value) for value in row.values] for row in answer.rows]}


def plain(value):
    match value.WhichOneof("kind"):
        case "null":
            return None
        case "time":
            return value.time.ToJsonString()
        case kind:
            return getattr(value, kind)


def refusal(error):
    said = {"code": error.code().name}
    for detail in rpc_status.from_call(error).details:
        info, bad = ErrorInfo(), BadRequest()
        if detail.Unpack(info):
            said |= {"reason": info.reason, "domain": info.domain}
        elif detail.Unpack(bad):
            violation = bad.field_violations[0]
            said["violation"] = {
                "field": violation.field,
                "reason": violation.reason,
                "description": violation.description,
            }
    return said


main()
