package penstock

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

const (
	short = 100 * time.Millisecond
	// patience is less than a call takes that nothing is said of, and far more than short.
	patience = 20 * time.Second
)

// settings is the first word of HTTP/2.
var settings = []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}

// mute is the address of a server that takes connections, says its first word, and then nothing.
func mute(t *testing.T, firstWord []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { connection.Close() })
			connection.Write(firstWord)
		}
	}()
	return listener.Addr().String()
}

func TestACallToAServerThatNeverAnswersEndsWhenItsTimeIsOver(t *testing.T) {
	for name, server := range map[string]struct {
		firstWord []byte
		errors    []error
	}{
		"nothing but its first word": {settings, []error{DeadlineExceeded}},
		"nothing at all":             {nil, []error{DeadlineExceeded, Unavailable}}, // nobody may be there
	} {
		t.Run(name, func(t *testing.T) {
			client, err := New(Options{Address: mute(t, server.firstWord), Key: "k", Timeout: short, OnRejected: func(Rejection) {}})
			if err != nil {
				t.Fatal(err)
			}
			limited := func(call func(context.Context) error) func() error {
				return func() error {
					ctx, cancel := context.WithTimeout(context.Background(), short)
					defer cancel()
					return call(ctx)
				}
			}
			type row = map[string]any
			ctx := context.Background()
			text := "SELECT COUNT(*) FROM events"
			calls := map[string]func() error{
				"sql": func() error { _, err := SQL[row](ctx, client, text); return err },
				"query": func() error {
					_, err := Query[row](ctx, client, TypedQuery{Measures: []Measure{{Name: "n", Formula: "COUNT(*)"}}})
					return err
				},
				"evaluate": func() error { _, err := Evaluate[row](ctx, client, "buyers", Shape{}); return err },
				"stream": func() error {
					for _, err := range Stream[row](ctx, client, Select(text)) {
						return err
					}
					return nil
				},
				"subscribe": limited(func(ctx context.Context) error {
					for _, err := range Subscribe[row](ctx, client, Select(text)) {
						return err
					}
					return nil
				}),
				"export": limited(func(ctx context.Context) error {
					file, err := client.Export(ctx, Select(text), CSV)
					if err == nil {
						_, err = io.ReadAll(file)
					}
					return err
				}),
			}
			for what, call := range calls {
				late(t, what, server.errors, call)
			}
			if _, err := client.Track(ctx, Event{Type: "e"}); err != nil {
				t.Fatal(err)
			}
			over := []error{context.DeadlineExceeded} // a flush ends with its context's error
			late(t, "flush", over, limited(func(ctx context.Context) error { _, err := client.Flush(ctx); return err }))
			same(t, client.Pending(), 1)
			late(t, "close", over, limited(client.Close))
		})
	}
}

// late has a call end with one of the errors, before anything but its own time could have ended it.
func late(t *testing.T, what string, kinds []error, call func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	select {
	case err := <-ended:
		if !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) {
			t.Errorf("%s ended with %v", what, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s goes on", what)
	}
}
