// The polyglot story told by grpc-go's own stubs: see ../README.md.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "penstock.test/polyglot/penstock/v1"
)

// again is what whoever is told to come again does: a retry counts no event twice, since each has an id.
const again = `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "1s", "maxBackoff": "10s",
	"backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "DEADLINE_EXCEEDED"]}}]}`

type object map[string]any

func main() {
	log.SetFlags(0)
	connection, err := grpc.NewClient(os.Getenv("PENSTOCK_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(again))
	check(err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("PENSTOCK_KEY"))
	app := os.Getenv("PENSTOCK_APP")

	ingest := v1.NewIngestServiceClient(connection)
	query := v1.NewQueryServiceClient(connection)
	metrics := v1.NewMetricsServiceClient(connection)

	published, err := ingest.Publish(ctx, &v1.PublishRequest{AppId: app, Events: []*v1.Event{
		purchase("e1", "u1", 12.5, 2), purchase("e2", "u2", 7.25, 3), {EventId: "e3"},
	}})
	check(err)
	verdict := published.Acknowledgement

	typed, err := query.Query(ctx, &v1.QueryRequest{
		Query: &v1.TypedQuery{
			AppId:      app,
			Measures:   []*v1.Measure{{Name: "revenue", Formula: "SUM(amount)", Unit: "EUR"}, {Name: "events", Formula: "COUNT(*)"}},
			Dimensions: []*v1.Dimension{{Expression: "user_id"}},
			Filters:    []*v1.Filter{{Field: "gift", Op: v1.FilterOp_FILTER_OP_EQ, Values: []*v1.Value{boolean(true)}}},
			OrderBy:    []*v1.OrderBy{{Column: "revenue", Descending: true}},
		},
		Options: waiting(verdict.PositionToken),
	})
	check(err)

	streamed, tokens := stream(ctx, ingest, app)
	var sql *v1.SqlResponse
	for _, token := range tokens { // each covers its own batch
		sql, err = query.Sql(ctx, &v1.SqlRequest{
			Sql:     "SELECT event_type, COUNT(*) AS events, SUM(amount * quantity) AS worth, MAX(due) AS due FROM events GROUP BY event_type ORDER BY event_type",
			AppId:   app,
			Options: waiting(token),
		})
		check(err)
	}

	created, err := metrics.CreateMetric(ctx, &v1.CreateMetricRequest{AppId: app, Definition: &v1.MetricDefinition{
		Name: "revenue_per_user", Formula: "SUM(amount) / COUNT(DISTINCT user_id)", Unit: "EUR",
	}})
	check(err)
	evaluated, err := metrics.Evaluate(ctx, &v1.EvaluateRequest{AppId: app, Name: "revenue_per_user"})
	check(err)

	_, refused := query.Query(ctx, &v1.QueryRequest{Query: &v1.TypedQuery{AppId: app, Measures: []*v1.Measure{{Formula: "SUM("}}}})

	check(json.NewEncoder(os.Stdout).Encode(object{
		"published": object{"accepted": verdict.Accepted, "rejections": rejections(verdict)},
		"streamed":  streamed,
		"query":     result(typed.Result),
		"sql":       result(sql.Result),
		"metric":    object{"created": created.Metric.Version, "evaluated": evaluated.Version, "result": result(evaluated.Result)},
		"refused":   refusal(refused),
	}))
}

// stream publishes two batches on one connection; the second sends an event again.
func stream(ctx context.Context, ingest v1.IngestServiceClient, app string) (answers [][2]uint64, tokens []string) {
	call, err := ingest.PublishStream(ctx)
	check(err)
	for i, events := range [][]*v1.Event{
		{purchase("e4", "u3", 30.5, 1)},
		{purchase("e1", "u1", 12.5, 2), {EventId: "e5", EventType: "view", UserId: "u1"}},
	} {
		batch := &v1.PublishRequest{AppId: app, Events: events}
		check(call.Send(&v1.PublishStreamRequest{Sequence: uint64(i + 1), Batch: batch}))
	}
	check(call.CloseSend())
	for {
		answer, err := call.Recv()
		if err == io.EOF {
			return answers, tokens
		}
		check(err)
		answers = append(answers, [2]uint64{answer.Sequence, uint64(answer.Acknowledgement.Accepted)})
		tokens = append(tokens, answer.Acknowledgement.PositionToken)
	}
}

func purchase(id, user string, amount float64, quantity int64) *v1.Event {
	return &v1.Event{EventId: id, EventType: "purchase", UserId: user, Properties: map[string]*v1.Value{
		"amount":   {Kind: &v1.Value_Number{Number: amount}},
		"quantity": {Kind: &v1.Value_Integer{Integer: quantity}},
		"currency": {Kind: &v1.Value_String_{String_: "EUR"}},
		"gift":     boolean(true),
		"due":      {Kind: &v1.Value_Time{Time: &timestamppb.Timestamp{Seconds: 1_800_000_000 + quantity}}},
	}}
}

func boolean(b bool) *v1.Value { return &v1.Value{Kind: &v1.Value_Bool{Bool: b}} }

func waiting(token string) *v1.ReadOptions {
	return &v1.ReadOptions{PositionToken: token, MaxWaitMs: 30_000}
}

func rejections(verdict *v1.Acknowledgement) []object {
	list := []object{}
	for _, r := range verdict.Rejections {
		list = append(list, object{"index": r.Index, "event_id": r.EventId, "code": r.Code, "field": r.Field})
	}
	return list
}

func result(result *v1.Result) object {
	columns, rows := []any{}, []any{}
	for _, column := range result.Columns {
		columns = append(columns, []any{column.Name, column.Type.String(), column.Unit})
	}
	for _, row := range result.Rows {
		cells := []any{}
		for _, value := range row.Values {
			cells = append(cells, plain(value))
		}
		rows = append(rows, cells)
	}
	return object{"columns": columns, "rows": rows}
}

func plain(value *v1.Value) any {
	switch kind := value.Kind.(type) {
	case *v1.Value_Number:
		return kind.Number
	case *v1.Value_Integer:
		return kind.Integer
	case *v1.Value_String_:
		return kind.String_
	case *v1.Value_Bool:
		return kind.Bool
	case *v1.Value_Time:
		return kind.Time.AsTime().Format(time.RFC3339)
	default:
		return nil
	}
}

func refusal(err error) object {
	said := object{"code": codeNames[status.Code(err)]}
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			said["reason"], said["domain"] = detail.Reason, detail.Domain
		case *errdetails.BadRequest:
			violation := detail.FieldViolations[0]
			said["violation"] = object{"field": violation.Field, "reason": violation.Reason, "description": violation.Description}
		}
	}
	return said
}

// codeNames has the canonical names; grpc-go's String writes them another way.
var codeNames = map[codes.Code]string{codes.InvalidArgument: "INVALID_ARGUMENT"}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
