// Follows an answer while events arrive. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	penstock "penstock.dev/client"
)

const wanted = 10

func main() {
	ctx := context.Background()
	client, err := penstock.New(penstock.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	go shop(ctx, client)

	orders := penstock.TypedQuery{
		Measures: []penstock.Measure{{Name: "orders", Formula: "COUNT(*)"}, {Name: "revenue", Formula: "SUM(amount)"}},
		Shape:    penstock.Shape{Filters: []penstock.Filter{penstock.Where("event_type", "=", "order")}},
	}
	type total struct {
		Orders  int
		Revenue float64
	}
	for update, err := range penstock.Subscribe[total](ctx, client, orders, penstock.MinInterval(200*time.Millisecond)) {
		if err != nil {
			log.Fatal(err)
		}
		now := update.Rows[0]
		fmt.Printf("%d orders, %v in all\n", now.Orders, now.Revenue)
		if now.Orders >= wanted {
			break
		}
	}
}

// shop is somebody who buys something.
func shop(ctx context.Context, client *penstock.Client) {
	for n := range wanted {
		event := penstock.Event{Type: "order", UserID: fmt.Sprintf("u%d", n%3), Properties: map[string]any{"amount": 10 + n}}
		if _, err := client.Track(ctx, event); err != nil {
			log.Print(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
