// What the end-to-end test has this client do: see services/penstock/tests/e2e/libraries.rs. Every language's client has such a program.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	penstock "penstock.dev/client"
)

const (
	sql   = "SELECT event_type, COUNT(*) AS events, SUM(amount) AS amount FROM events GROUP BY event_type ORDER BY event_type"
	wrong = "SELECT COUNT(*) FROM events WHERE nothing("
)

var (
	revenue = penstock.TypedQuery{
		Measures: []penstock.Measure{{Name: "revenue", Formula: "SUM(amount)"}},
		Shape: penstock.Shape{
			Dimensions: penstock.By("user_plan"),
			Filters:    []penstock.Filter{penstock.Where("status", "in", "done", "sent")},
			OrderBy:    []string{"-revenue"},
		},
	}
	live = penstock.TypedQuery{
		Measures: []penstock.Measure{{Name: "orders", Formula: "COUNT(*)"}},
		Shape: penstock.Shape{
			Dimensions: penstock.By("user_id"),
			Filters:    []penstock.Filter{penstock.Where("event_type", "=", "order")},
		},
	}
)

type object map[string]any

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 110*time.Second)
	defer cancel()
	events := 0
	if len(os.Args) > 2 {
		events = must(strconv.Atoi(os.Args[2]))
	}
	var said any
	switch what := os.Args[1]; what {
	case "story":
		said = story(ctx)
	case "send":
		said = send(ctx, events)
	case "leave":
		leave(ctx, events)
	case "end":
		said = end(ctx, events)
	case "resume":
		said = resume(ctx)
	case "full":
		said = full(ctx, events)
	default:
		log.Fatalf("there is no telling %q", what)
	}
	check(json.NewEncoder(os.Stdout).Encode(said))
}

func story(ctx context.Context) object {
	rejections := []object{}
	client := must(penstock.New(penstock.Options{
		Limits: penstock.Limits{BatchTime: time.Minute}, ReadYourWrites: true,
		OnRejected: func(r penstock.Rejection) {
			user := "nobody"
			if r.Identity != nil {
				user = r.Identity.UserID
			}
			rejections = append(rejections, object{"code": r.Code, "field": r.Field, "user": user})
		},
	}))
	for n := range 20 {
		user, plan := fmt.Sprintf("u%d", n), "free"
		if n%2 == 1 {
			plan = "pro"
		}
		check(client.Identify(ctx, penstock.Identity{UserID: user, Traits: map[string]any{"plan": plan}}))
		properties := map[string]any{"amount": float64(n) + 0.125, "status": "done", "gift": n == 0, "coupon": nil}
		track(ctx, client, penstock.Event{Type: "order", UserID: user, Properties: properties})
	}
	track(ctx, client, penstock.Event{UserID: "nobody"})
	check(client.Identify(ctx, penstock.Identity{UserID: "u0", Traits: map[string]any{"plan": 7}}))
	flushed := must(client.Flush(ctx))

	type byType struct {
		EventType string
		Events    int
		Worth     *float64 `penstock:"amount"`
	}
	answer := must(penstock.SQL[byType](ctx, client, sql)) // includes each of its writes, in whatever partition
	rows := []any{}
	for _, row := range answer.Rows {
		rows = append(rows, []any{row.EventType, row.Events, *row.Worth})
	}
	columns := []any{}
	for _, column := range answer.Columns {
		columns = append(columns, []string{column.Name, column.Type})
	}
	query := must(penstock.Query[map[string]any](ctx, client, revenue))
	pro := penstock.Shape{Filters: []penstock.Filter{penstock.Where("user_plan", "=", "pro")}}
	metric := must(penstock.Evaluate[struct{ Buyers uint8 }](ctx, client, "buyers", pro))
	streamed := 0
	for row, err := range penstock.Stream[struct{ EventID string }](ctx, client, penstock.Select("SELECT event_id FROM events")) {
		check(err)
		if row.EventID != "" {
			streamed++
		}
	}
	exported := exported(ctx, client)
	csv := must(io.ReadAll(must(client.Export(ctx, penstock.Select("SELECT MAX(amount) AS most FROM events"), penstock.CSV))))
	_, err := penstock.SQL[map[string]any](ctx, client, wrong)
	refused := &penstock.Error{}
	if !errors.Is(err, penstock.InvalidArgument) || errors.Is(err, penstock.Unavailable) || !errors.As(err, &refused) {
		log.Fatalf("refused with %v", err)
	}

	seen := []map[string]int{}
	type byUser struct {
		UserID string
		Orders int
	}
	for update, err := range penstock.Subscribe[byUser](ctx, client, live, penstock.MinInterval(200*time.Millisecond)) {
		check(err)
		now := map[string]int{}
		for _, row := range update.Rows {
			now[row.UserID] = row.Orders
		}
		seen = append(seen, now)
		if len(seen) == 1 {
			track(ctx, client, penstock.Event{Type: "order", UserID: "u0"})
			track(ctx, client, penstock.Event{Type: "order", UserID: "new"})
			must(client.Flush(ctx))
		}
		if now["u0"] == 2 && now["new"] == 1 {
			break
		}
	}
	check(client.Close(ctx))
	if !answer.Info.CompleteUntil.Before(time.Now()) {
		log.Fatal("the answer is not as of some time before")
	}
	return object{
		"flushed": []int{flushed.Accepted, flushed.Rejected}, "rejections": rejections, "columns": columns, "sql": rows,
		"query": query.Rows, "metric": metric.Rows[0].Buyers, "rows": streamed, "export": exported, "csv": string(csv),
		"wrong": object{
			"code": "INVALID_ARGUMENT", "reason": refused.Reason,
			"fields": []string{refused.Violations[0].Field}, "position": refused.Position,
		},
		"live": []int{len(seen[0]), seen[0]["u0"], len(seen[len(seen)-1])},
	}
}

func exported(ctx context.Context, client *penstock.Client) []any {
	export := must(client.Export(ctx, penstock.Select("SELECT user_id, amount FROM events ORDER BY amount"), penstock.NDJSON))
	defer export.Close()
	var amounts []any
	lines := bufio.NewScanner(export)
	for lines.Scan() {
		var row struct{ Amount float64 }
		check(json.Unmarshal(lines.Bytes(), &row))
		amounts = append(amounts, row.Amount)
	}
	check(lines.Err())
	return append([]any{len(amounts)}, amounts[:2]...)
}

// send sends so many through whatever happens, with a queue much smaller than they are. It says how far it is.
func send(ctx context.Context, events int) object {
	limits := penstock.Limits{BatchEvents: 50, BatchTime: 10 * time.Millisecond, QueueBytes: 64 << 10}
	client := must(penstock.New(penstock.Options{Limits: limits, Timeout: 5 * time.Second}))
	most := 0
	for n := range events {
		properties := map[string]any{"n": n, "pad": strings.Repeat("x", 100)}
		track(ctx, client, penstock.Event{Type: "sent", UserID: fmt.Sprintf("u%d", n%17), Properties: properties})
		most = max(most, client.Pending())
		if n%100 == 99 {
			fmt.Println(n + 1)
		}
	}
	flushed := must(client.Flush(ctx))
	check(client.Close(ctx))
	return object{"accepted": flushed.Accepted, "rejected": flushed.Rejected, "bounded": most < 1000}
}

// leave queues so many on disk, says so, and waits for its end.
func leave(ctx context.Context, events int) {
	client := must(penstock.New(penstock.Options{Directory: os.Getenv("PENSTOCK_DIRECTORY")}))
	for n := range events {
		track(ctx, client, penstock.Event{Type: "left", UserID: fmt.Sprintf("u%d", n%17), Properties: map[string]any{"n": n}})
	}
	fmt.Println("queued")
	<-ctx.Done()
}

// end queues so many and ends as programs do: its deferred Close sends them.
func end(ctx context.Context, events int) object {
	limits := penstock.Limits{BatchEvents: 1 << 20, BatchTime: time.Hour}
	client := must(penstock.New(penstock.Options{Limits: limits}))
	defer func() { check(client.Close(ctx)) }()
	for n := range events {
		track(ctx, client, penstock.Event{Type: "ended", UserID: fmt.Sprintf("u%d", n%17), Properties: map[string]any{"n": n}})
	}
	return object{"queued": client.Pending()}
}

// resume sends what another process left.
func resume(ctx context.Context) object {
	client := must(penstock.New(penstock.Options{Directory: os.Getenv("PENSTOCK_DIRECTORY")}))
	flushed := must(client.Flush(ctx))
	check(client.Close(ctx))
	return object{"accepted": flushed.Accepted, "rejected": flushed.Rejected}
}

// full queues without a server until there is no more room, in memory or on disk. It says how many were taken, and how many came back at the end.
func full(ctx context.Context, events int) object {
	notSent, queued := 0, 0
	client := must(penstock.New(penstock.Options{
		FailWhenFull: true, Limits: penstock.Limits{QueueBytes: 64 << 10}, Directory: os.Getenv("PENSTOCK_DIRECTORY"),
		OnRejected: func(r penstock.Rejection) {
			if r.Code == "NOT_SENT" {
				notSent++
			}
		},
	}))
	for ; queued < events; queued++ {
		properties := map[string]any{"n": queued, "pad": strings.Repeat("x", 100)}
		_, err := client.Track(ctx, penstock.Event{Type: "full", Properties: properties})
		if errors.Is(err, penstock.ErrQueueFull) {
			break
		}
		check(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if client.Close(ctx) == nil {
		log.Fatal("all was sent to nobody")
	}
	return object{"queued": queued, "handed_back": notSent}
}

func track(ctx context.Context, client *penstock.Client, event penstock.Event) {
	must(client.Track(ctx, event))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
