// Package penstock sends events to Penstock and asks it questions.
//
//	client, err := penstock.New(penstock.Options{Address: "127.0.0.1:7070", Key: key, App: "shop"})
//	defer client.Close(ctx)
//	client.Track(ctx, penstock.Event{Type: "purchase", UserID: "u1", Properties: map[string]any{"amount": 12.5}})
//	done, err := client.Flush(ctx)
//	answer, err := penstock.SQL[struct{ Revenue float64 }](ctx, client, "SELECT SUM(amount) AS revenue FROM events", penstock.After(done))
//
// What is tracked is queued at once and sent in batches by itself. A [Client] is for many goroutines.
package penstock

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	pb "penstock.dev/client/penstockpb"
)

const (
	// attempts is how often a question is asked while the server can't be reached.
	attempts       = 4
	longestMessage = 64 << 20
	longestWait    = 30 * time.Second
)

// Options say where the server is, and how the client behaves. What is zero has its default.
type Options struct {
	// Address is HOST:PORT, http://HOST:PORT or https://HOST. Default: PENSTOCK_ADDRESS, or 127.0.0.1:7070.
	Address string
	// Key is the API key, or an embed token. Default: PENSTOCK_KEY.
	Key string
	// App is that of events and questions that name none. Default: PENSTOCK_APP; not needed if the key reaches one app alone.
	App string
	// Timeout is how long a call may take whose context says nothing. Default: 30 s.
	Timeout time.Duration
	// TLS is for https addresses. Default: the system's authorities.
	TLS *tls.Config
	// ReadYourWrites has each answer include all that this client had flushed before it asked.
	ReadYourWrites bool
	// FailWhenFull has Track return ErrQueueFull while the queue is full, in place of waiting.
	FailWhenFull bool
	// Limits say when batches leave, and how much may be queued.
	Limits Limits
	// Directory is where the queue lies on disk: what is queued there survives the process, however it ends, and is sent by the next client that
	// has the directory. Default: it is in memory.
	Directory string
	// OnRejected is called with each event that was refused, in the sender's goroutine. Default: it is logged as a warning.
	OnRejected func(Rejection)
}

// Client sends events and asks questions.
type Client struct {
	options    Options
	connection *grpc.ClientConn
	ingest     pb.IngestServiceClient
	query      pb.QueryServiceClient
	metrics    pb.MetricsServiceClient
	sender     *sender
	closing    sync.Once
}

// New makes a client. It connects when it has something to say.
func New(options Options) (*Client, error) {
	options.Address = orDefault(options.Address, orDefault(os.Getenv("PENSTOCK_ADDRESS"), "127.0.0.1:7070"))
	// What comes out of a file ends with its line.
	options.Key = strings.TrimSpace(orDefault(options.Key, os.Getenv("PENSTOCK_KEY")))
	options.App = orDefault(options.App, os.Getenv("PENSTOCK_APP"))
	options.Timeout = orDefault(options.Timeout, 30*time.Second)
	if options.Key == "" {
		return nil, errors.New("penstock: a key is needed: Options.Key, or PENSTOCK_KEY in the environment")
	}
	if strings.ContainsFunc(options.Key, func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, errors.New("penstock: the key has a character that none has: give what was shown when it was made, and nothing else")
	}
	if options.OnRejected == nil {
		options.OnRejected = logRejection
	}
	target, transport, err := place(options)
	if err != nil {
		return nil, err
	}
	var queue store = &memory{}
	if options.Directory != "" {
		if queue, err = openFiles(options.Directory); err != nil {
			return nil, err
		}
	}
	// What was away is looked for again soon, not after grpc's two minutes.
	again := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(longestMessage)),
	)
	if err != nil {
		queue.close()
		return nil, err
	}
	c := &Client{
		options: options, connection: connection, ingest: pb.NewIngestServiceClient(connection),
		query: pb.NewQueryServiceClient(connection), metrics: pb.NewMetricsServiceClient(connection),
	}
	c.sender = newSender(queue, c, options.App, options.Limits, options.OnRejected)
	return c, nil
}

// place says what grpc calls the address, and how it is spoken to.
func place(options Options) (string, credentials.TransportCredentials, error) {
	at, err := url.Parse(options.Address)
	if err != nil || at.Host == "" {
		return options.Address, insecure.NewCredentials(), nil // HOST:PORT
	}
	switch at.Scheme {
	case "http":
		return at.Host, insecure.NewCredentials(), nil
	case "https":
		host := at.Host
		if at.Port() == "" {
			host += ":443"
		}
		return host, credentials.NewTLS(options.TLS), nil
	}
	return "", nil, fmt.Errorf("penstock: the address %q is none: HOST:PORT, http://HOST:PORT or https://HOST", options.Address)
}

func logRejection(rejection Rejection) {
	slog.Warn("penstock: rejected", "code", rejection.Code, "field", rejection.Field, "description", rejection.Description,
		"event", rejection.Event, "identity", rejection.Identity)
}

// Track queues an event and returns its id. The server counts an id once within 24 hours, however often it is sent.
//
// It waits while the queue is full, until the context is over; or returns ErrQueueFull with FailWhenFull. Otherwise it fails with what can't
// be sent of the event, with ErrClosed, if the queue on disk can't be written, and, while the queue is full, with what keeps it from being sent.
func (c *Client) Track(ctx context.Context, event Event) (string, error) {
	id, record, err := encodedEvent(event)
	if err != nil {
		return "", err
	}
	return id, c.put(ctx, record)
}

// Identify queues what is known of a user: the user's events that are tracked from here on carry it. It fails as Track does.
func (c *Client) Identify(ctx context.Context, identity Identity) error {
	record, err := encodedIdentity(identity)
	if err != nil {
		return err
	}
	return c.put(ctx, record)
}

func (c *Client) put(ctx context.Context, record []byte) error {
	for {
		room, err := c.sender.offer(record)
		if err != nil || room == nil {
			return err
		}
		if c.options.FailWhenFull {
			return ErrQueueFull
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Flush sends at once what is queued, and returns when each event that was tracked before is accepted or rejected.
//
// It fails with the context's error, and with what keeps the queue from being sent, such as a key that is revoked. What is queued stays queued; the
// next flush tries again.
func (c *Client) Flush(ctx context.Context) (Flushed, error) { return c.sender.flush(ctx) }

// Close sends what is queued until the context is over, for 10 seconds if it says nothing, and ends the client. What can't be sent by then goes
// to OnRejected with the code NOT_SENT, or stays in the directory for the next client. It returns why not all was sent.
func (c *Client) Close(ctx context.Context) (err error) {
	c.closing.Do(func() {
		ctx, cancel := within(ctx, 10*time.Second)
		defer cancel()
		_, err = c.sender.flush(ctx)
		c.sender.close(c.options.Directory != "")
		err = errors.Join(err, c.connection.Close())
	})
	return err
}

// Pending is how many events are queued or under way.
func (c *Client) Pending() int { return c.sender.pending() }

func (c *Client) publish(ctx context.Context, request *pb.PublishRequest) (*pb.Acknowledgement, error) {
	ctx, cancel := c.calling(ctx)
	defer cancel()
	answer, err := c.ingest.Publish(ctx, request)
	return answer.GetAcknowledgement(), err
}

func (c *Client) identify(ctx context.Context, request *pb.IdentifyRequest) (string, error) {
	ctx, cancel := c.calling(ctx)
	defer cancel()
	answer, err := c.ingest.Identify(ctx, request)
	return answer.GetPositionToken(), err
}

// SQL answers a SELECT over events and users, up to 10,000 rows; see [Stream] for more, and [Result] for T.
//
// An [*Error] has the Position in the text and what would be right. While the server can't be reached it is asked again, until the context is over.
func SQL[T any](ctx context.Context, c *Client, text string, options ...ReadOption) (*Result[T], error) {
	r := c.read(options)
	return answer[T](ctx, c, r, func(ctx context.Context) (*pb.Result, error) {
		answer, err := c.query.Sql(ctx, &pb.SqlRequest{Sql: text, AppId: r.app, Options: r.options})
		return answer.GetResult(), err
	})
}

// Query answers a typed query, up to 10,000 rows. It fails as [SQL] does.
func Query[T any](ctx context.Context, c *Client, query TypedQuery, options ...ReadOption) (*Result[T], error) {
	r := c.read(options)
	_, wire, err := query.ask(r.app)
	if err != nil {
		return nil, err
	}
	return answer[T](ctx, c, r, func(ctx context.Context) (*pb.Result, error) {
		answer, err := c.query.Query(ctx, &pb.QueryRequest{Query: wire, Options: r.options})
		return answer.GetResult(), err
	})
}

// Evaluate evaluates a metric by its name; the shape says by what it is split. It fails as [SQL] does.
func Evaluate[T any](ctx context.Context, c *Client, metric string, shape Shape, options ...ReadOption) (*Result[T], error) {
	r := c.read(options)
	wire, err := shape.evaluation()
	if err != nil {
		return nil, err
	}
	request := &pb.EvaluateRequest{AppId: r.app, Name: metric, Version: r.version, Evaluation: wire, Options: r.options}
	return answer[T](ctx, c, r, func(ctx context.Context) (*pb.Result, error) {
		answer, err := c.metrics.Evaluate(ctx, request)
		return answer.GetResult(), err
	})
}

// Stream answers with any number of rows, as they come. It fails as [SQL] does, and with [Unavailable] if the answer breaks off.
func Stream[T any](ctx context.Context, c *Client, question Question, options ...ReadOption) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ctx, cancel := c.calling(ctx)
		defer cancel()
		next, err := c.parts(ctx, question, options)
		if err != nil {
			yield(none, err)
			return
		}
		var rows *decoder[T]
		for {
			part, err := next()
			switch {
			case errors.Is(err, io.EOF):
				yield(none, brokeOff("the answer"))
				return
			case err != nil:
				yield(none, fromRPC(err))
				return
			case part.GetHeader() != nil:
				if rows, err = newDecoder[T](columnsOf(part.GetHeader().Columns)); err != nil {
					yield(none, err)
					return
				}
			case part.GetEnd() != nil:
				return
			}
			for _, wire := range part.GetRows().GetRows() {
				row, err := rows.row(wire)
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

// parts asks for an answer as a stream.
func (c *Client) parts(ctx context.Context, question Question, options []ReadOption) (func() (*pb.ResultPart, error), error) {
	r := c.read(options)
	r.waitWithin(ctx)
	sql, query, err := question.ask(r.app)
	if err != nil {
		return nil, err
	}
	if sql != nil {
		stream, err := c.query.SqlStream(ctx, &pb.SqlStreamRequest{Sql: sql.Sql, AppId: r.app, Options: r.options})
		if err != nil {
			return nil, fromRPC(err)
		}
		return func() (*pb.ResultPart, error) { answer, err := stream.Recv(); return answer.GetPart(), err }, nil
	}
	stream, err := c.query.QueryStream(ctx, &pb.QueryStreamRequest{Query: query, Options: r.options})
	if err != nil {
		return nil, fromRPC(err)
	}
	return func() (*pb.ResultPart, error) { answer, err := stream.Recv(); return answer.GetPart(), err }, nil
}

// Subscribe answers now, and again whenever the answer changes, until the context is over or the loop is left. Each update has the whole answer, put
// together from what the server says is different. Where the server goes away it is asked again.
func Subscribe[T any](ctx context.Context, c *Client, question Question, options ...ReadOption) iter.Seq2[Update[T], error] {
	return func(yield func(Update[T], error) bool) {
		r := c.read(options)
		r.waitWithin(ctx)
		sql, query, err := question.ask(r.app)
		if err != nil {
			yield(Update[T]{}, err)
			return
		}
		request := &pb.SubscribeRequest{Options: r.options, Question: &pb.SubscribeRequest_Query{Query: query}}
		if sql != nil {
			request.Question = &pb.SubscribeRequest_Sql{Sql: sql}
		}
		if r.minInterval != 0 {
			request.MinInterval = durationpb.New(r.minInterval)
		}
		again := retries{}
		for {
			left, err := pushes(ctx, c, request, &again, yield)
			if left {
				return
			}
			if err := again.wait(ctx, err); err != nil {
				yield(Update[T]{}, err)
				return
			}
		}
	}
}

// pushes passes on the updates of one subscription, until it ends or the loop is left.
func pushes[T any](
	ctx context.Context, c *Client, request *pb.SubscribeRequest, again *retries, yield func(Update[T], error) bool,
) (left bool, err error) {
	ctx, cancel := context.WithCancel(c.keyed(ctx))
	defer cancel()
	stream, err := c.query.Subscribe(ctx, request)
	if err != nil {
		return false, err
	}
	live := &liveAnswer[T]{}
	for {
		push, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return false, brokeOff("the subscription")
		}
		if err != nil {
			return false, err
		}
		*again = retries{}
		update, news, err := live.push(push)
		if err != nil {
			yield(update, err)
			return true, nil
		}
		if news && !yield(update, nil) {
			return true, nil
		}
	}
}

// Format is what an export writes.
type Format = pb.ExportFormat

// The formats.
const (
	// Arrow is the stream format of Arrow IPC.
	Arrow = pb.ExportFormat_EXPORT_FORMAT_ARROW
	// CSV has a line of names before the rows.
	CSV = pb.ExportFormat_EXPORT_FORMAT_CSV
	// NDJSON is a JSON object a line.
	NDJSON = pb.ExportFormat_EXPORT_FORMAT_NDJSON
)

// Export is a file of any length: an [io.ReadCloser] that ends with [io.EOF] when the file is whole, and not before.
type Export struct {
	// ContentType is what the file is, from the first read on.
	ContentType string
	// Rows is how many rows are in what was read so far, or a little more.
	Rows uint64
	// Info says as of when the answer is, from the first read on.
	Info Info

	client  *Client
	ctx     context.Context
	cancel  context.CancelFunc
	request *pb.ExportRequest
	stream  grpc.ServerStreamingClient[pb.ExportResponse]
	again   retries
	left    []byte
	whole   bool
}

// Export answers with a file of any length. The key needs the export permission. Where the server goes away meanwhile, the export goes on behind the
// last piece. Close it, or end the context.
func (c *Client) Export(ctx context.Context, question Question, format Format, options ...ReadOption) (*Export, error) {
	r := c.read(options)
	r.waitWithin(ctx)
	sql, query, err := question.ask(r.app)
	if err != nil {
		return nil, err
	}
	request := &pb.ExportRequest{Options: r.options, Format: format, Question: &pb.ExportRequest_Query{Query: query}}
	if sql != nil {
		request.Question = &pb.ExportRequest_Sql{Sql: sql}
	}
	ctx, cancel := context.WithCancel(c.keyed(ctx))
	return &Export{client: c, ctx: ctx, cancel: cancel, request: request}, nil
}

// Read reads on in the file.
func (e *Export) Read(into []byte) (int, error) {
	for len(e.left) == 0 {
		if e.whole {
			return 0, io.EOF
		}
		if err := e.next(); err != nil {
			e.stream = nil
			if err := e.again.wait(e.ctx, err); err != nil {
				return 0, err
			}
		}
	}
	n := copy(into, e.left)
	e.left = e.left[n:]
	return n, nil
}

// Close ends the export, wherever it is.
func (e *Export) Close() error {
	e.cancel()
	return nil
}

// next takes the next piece.
func (e *Export) next() (err error) {
	if e.stream == nil {
		if e.stream, err = e.client.query.Export(e.ctx, e.request); err != nil {
			return err
		}
	}
	piece, err := e.stream.Recv()
	if errors.Is(err, io.EOF) {
		return brokeOff("the export")
	}
	if err != nil {
		return err
	}
	e.again = retries{}
	e.request.ResumeToken = piece.ResumeToken
	e.ContentType = orDefault(piece.ContentType, e.ContentType)
	e.Rows, e.Info = piece.Rows, infoOf(&pb.ResultInfo{Watermark: piece.Watermark})
	e.left, e.whole = piece.Data, piece.Last
	return nil
}

// read is what the options say; without a token an answer includes what this client itself wrote, if it is to.
func (c *Client) read(options []ReadOption) *reading {
	r := &reading{options: &pb.ReadOptions{}, app: c.options.App}
	if c.options.ReadYourWrites {
		r.options.PositionToken = c.sender.token()
	}
	for _, option := range options {
		option(r)
	}
	return r
}

// waitWithin has the server wait for a token as long as the call may take.
func (r *reading) waitWithin(ctx context.Context) {
	if r.options.MaxWaitMs != 0 {
		return
	}
	wait := longestWait
	if until, limited := ctx.Deadline(); limited {
		wait = min(wait, max(time.Millisecond, time.Until(until)))
	}
	r.options.MaxWaitMs = uint32(wait.Milliseconds())
}

// keyed is a context that shows the key.
func (c *Client) keyed(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.options.Key)
}

// calling is a context that shows the key, and ends in time.
func (c *Client) calling(ctx context.Context) (context.Context, context.CancelFunc) {
	return within(c.keyed(ctx), c.options.Timeout)
}

// within is the context, which ends after so long if it says nothing itself.
func within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, limited := ctx.Deadline(); limited {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// answer asks until there is an answer.
func answer[T any](ctx context.Context, c *Client, r *reading, ask func(context.Context) (*pb.Result, error)) (*Result[T], error) {
	ctx, cancel := c.calling(ctx)
	defer cancel()
	r.waitWithin(ctx)
	again := retries{}
	for {
		result, err := ask(ctx)
		if err == nil {
			return resultOf[T](result)
		}
		if err := again.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// retries counts how often a question was asked in vain.
type retries struct{ count int }

// wait waits before it is asked again, or returns the error if it isn't to be.
func (r *retries) wait(ctx context.Context, err error) error {
	known := fromRPC(err)
	r.count++
	if known.Code != codes.Unavailable || r.count >= attempts {
		return known
	}
	pause := max(known.RetryAfter, time.Duration(rand.Int64N(int64(200*time.Millisecond)<<r.count)))
	if until, limited := ctx.Deadline(); limited && time.Until(until) <= pause {
		return known
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return known
	}
}

func brokeOff(what string) *Error {
	return &Error{Code: codes.Unavailable, Message: what + " broke off"}
}
