// A first event and a first answer. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	penstock "penstock.dev/client"
)

func main() {
	ctx := context.Background()
	client, err := penstock.New(penstock.Options{}) // or Options{Address: "127.0.0.1:7070", Key: key, App: "xyz123"}
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	client.Identify(ctx, penstock.Identity{UserID: "u1", Traits: map[string]any{"country": "DE", "plan": "pro"}})
	properties := map[string]any{"amount": 12.5, "status": "completed"}
	if _, err := client.Track(ctx, penstock.Event{Type: "purchase", UserID: "u1", Properties: properties}); err != nil {
		log.Fatal(err)
	}
	done, err := client.Flush(ctx)
	if err != nil {
		log.Fatal(err)
	}

	type byCountry struct {
		Country *string
		Revenue float64
	}
	sql := "SELECT country, SUM(amount) AS revenue FROM events GROUP BY country"
	answer, err := penstock.SQL[byCountry](ctx, client, sql, penstock.After(done))
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range answer.Rows {
		if row.Country != nil {
			fmt.Println(*row.Country, row.Revenue)
		}
	}

	byDay := penstock.TypedQuery{
		Measures: []penstock.Measure{{Name: "revenue", Formula: "SUM(amount)"}},
		Shape:    penstock.Shape{Filters: []penstock.Filter{penstock.Where("status", "=", "completed")}, Grain: penstock.Day},
	}
	type day struct {
		Time    time.Time
		Revenue float64
	}
	days, err := penstock.Query[day](ctx, client, byDay, penstock.After(done))
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range days.Rows {
		fmt.Println(row.Time.Format(time.DateOnly), row.Revenue)
	}
}
