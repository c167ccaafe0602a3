package penstock

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	pb "penstock.dev/client/penstockpb"
)

const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
)

// Event is something that happened.
type Event struct {
	// Type is what happened, as in "purchase". Required.
	Type string
	// UserID is who did it; empty if nobody is known.
	UserID string
	// Properties are values by name: bool, integers, floats, string and time.Time; those that are nil are left out.
	Properties map[string]any
	// Timestamp is when it happened. Default: now.
	Timestamp time.Time
	// ID is told apart by the server for 24 hours. Default: a new UUIDv7.
	ID string
	// App is the event's app. Default: the client's.
	App string
}

// Identity is what is known of a user.
type Identity struct {
	// UserID is the user. Required.
	UserID string
	// Traits are values by name; one that isn't named keeps its value. "country" and "plan" become columns of the user's later events.
	Traits map[string]any
	// App is the user's app. Default: the client's.
	App string
}

// Rejection is why something that was queued was not accepted.
type Rejection struct {
	// Code is the rule that it breaks, as in TOO_OLD, REQUIRED or PROPERTY_LIMIT; or NOT_SENT, if the client was closed before it could be sent.
	Code string
	// Field is the path of the field at fault, as in "properties.price".
	Field string
	// Description is what is wrong and what would be right.
	Description string
	// Event is what was refused, unless it was an identity.
	Event *Event
	// Identity is what was refused, unless it was an event.
	Identity *Identity
}

// Flushed is what became of what was queued.
type Flushed struct {
	// Accepted is how many events were accepted since the last flush returned: durable, and counted once each.
	Accepted int
	// Rejected is how many were not; each was given to OnRejected.
	Rejected int
	// Token covers all that this client ever sent: see [After]. Empty if nothing was accepted yet.
	Token string
}

// Limits say when batches leave, and how much may be queued. What is zero has its default.
type Limits struct {
	// BatchEvents is how many events a batch has at most: with them it leaves. Default: 500.
	BatchEvents int
	// BatchBytes is how many bytes a batch has at most. Default: 512 KiB.
	BatchBytes int
	// BatchTime is how long an event waits for others. Default: 200 ms.
	BatchTime time.Duration
	// QueueBytes is how many bytes may be queued: with more the queue is full. Default: 32 MiB.
	QueueBytes int
}

func (l Limits) withDefaults() Limits {
	l.BatchEvents = orDefault(l.BatchEvents, 500)
	l.BatchBytes = orDefault(l.BatchBytes, 512<<10)
	l.BatchTime = orDefault(l.BatchTime, 200*time.Millisecond)
	l.QueueBytes = orDefault(l.QueueBytes, 32<<20)
	return l
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// wire is how batches get to the server.
type wire interface {
	publish(ctx context.Context, request *pb.PublishRequest) (*pb.Acknowledgement, error)
	identify(ctx context.Context, request *pb.IdentifyRequest) (token string, err error)
}

// sender is a bounded queue and the goroutine that empties it.
//
// One batch is under way at a time, so events arrive in the order in which they were tracked. Every event has its id from the start: what is sent
// again counts once.
type sender struct {
	wire       wire
	app        string
	limits     Limits
	onRejected func(Rejection)
	ctx        context.Context // over when the sender is to end
	end        context.CancelFunc
	ended      chan struct{} // closed when its goroutine is no more
	wake       chan struct{} // has one when something is new

	mu      sync.Mutex
	store   store
	queued  uint64 // all records that came
	done    uint64 // all whose end is known
	total   Flushed
	due     time.Time
	flushes []flush
	room    chan struct{} // closed, and made anew, when there may be room or the failure is known
	waiting int
	failure error
	closed  bool
}

type flush struct {
	target uint64
	told   chan<- flushEnd
}

type flushEnd struct {
	flushed Flushed
	err     error
}

func newSender(store store, wire wire, app string, limits Limits, onRejected func(Rejection)) *sender {
	ctx, end := context.WithCancel(context.Background())
	s := &sender{
		wire: wire, app: app, limits: limits.withDefaults(), onRejected: onRejected, ctx: ctx, end: end,
		ended: make(chan struct{}), wake: make(chan struct{}, 1), store: store, queued: uint64(store.records()), room: make(chan struct{}),
	}
	go s.run()
	return s
}

// offer queues a record, or returns what is closed when there may be room.
func (s *sender) offer(record []byte) (room <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.store.records() > 0 && s.store.size()+len(record)+overhead > s.limits.QueueBytes {
		if s.failure != nil {
			return nil, s.failure
		}
		s.waiting++
		s.notify()
		return s.room, nil
	}
	first := s.store.records() == 0
	if err := s.store.add(record); err != nil {
		return nil, err
	}
	if first {
		s.due = time.Now().Add(s.limits.BatchTime)
	}
	s.queued++
	if first || s.fullBatch() {
		s.notify()
	}
	return nil, nil
}

// flush returns when the end of everything queued so far is known, or with what keeps it from being sent.
func (s *sender) flush(ctx context.Context) (Flushed, error) {
	told := make(chan flushEnd, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Flushed{}, ErrClosed
	}
	s.failure = nil
	s.flushes = append(s.flushes, flush{s.queued, told})
	s.settle()
	s.notify()
	s.mu.Unlock()
	select {
	case end := <-told:
		return end.flushed, end.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, flush := range s.flushes {
			if flush.told == told {
				s.flushes = append(s.flushes[:i:i], s.flushes[i+1:]...)
				return Flushed{}, ctx.Err()
			}
		}
		end := <-told // it was told meanwhile
		return end.flushed, end.err
	}
}

// close ends the goroutine. What is still queued is kept where it is, or handed out as rejected.
func (s *sender) close(keep bool) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.mu.Unlock()
	s.end()
	<-s.ended
	s.fail(ErrClosed)
	for !keep && s.store.records() > 0 {
		left, err := s.store.first(s.limits.BatchEvents, s.limits.BatchBytes)
		if err != nil {
			break
		}
		for _, record := range left {
			s.reject(record, "NOT_SENT", "", "the client was closed before it could be sent")
		}
		s.mu.Lock()
		s.store.drop(len(left))
		s.mu.Unlock()
	}
	s.store.close()
}

func (s *sender) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.records()
}

func (s *sender) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total.Token
}

func (s *sender) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) fullBatch() bool {
	return s.store.records() >= s.limits.BatchEvents || s.store.size() >= s.limits.BatchBytes
}

func (s *sender) run() {
	defer close(s.ended)
	attempt := 0
	for s.ctx.Err() == nil {
		batch, wait, err := s.next()
		if err == nil && batch == nil {
			s.sleep(wait)
			continue
		}
		count := 0
		if err == nil {
			count, err = s.send(batch)
		}
		if err == nil {
			err = s.drop(count)
		}
		if err == nil {
			attempt = 0
			continue
		}
		known := fromRPC(err)
		if s.ctx.Err() != nil {
			return
		}
		if !known.Retryable() {
			s.fail(known)
			continue
		}
		attempt++
		s.pause(known, attempt)
	}
}

// next returns the batch that is to leave, records of one kind; or how long to wait for one, 0 for until something is new.
func (s *sender) next() (batch [][]byte, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.records() == 0 || s.failure != nil {
		return nil, 0, nil
	}
	wait = time.Until(s.due)
	if wait > 0 && len(s.flushes) == 0 && s.waiting == 0 && !s.fullBatch() {
		return nil, wait, nil
	}
	// Whatever comes from now on has waited for less long.
	s.due = time.Now().Add(s.limits.BatchTime)
	if batch, err = s.store.first(s.limits.BatchEvents, s.limits.BatchBytes); err != nil {
		return nil, 0, err
	}
	kind := batch[0][0]
	if kind == identityRecord {
		return batch[:1], 0, nil
	}
	for i, record := range batch {
		if record[0] != kind {
			return batch[:i], 0, nil
		}
	}
	return batch, 0, nil
}

// send sends some of a batch, and returns how many records have their end; with an error none has.
func (s *sender) send(batch [][]byte) (int, error) {
	if batch[0][0] == identityRecord {
		return s.sendIdentity(batch[0])
	}
	request := &pb.PublishRequest{AppId: s.app, PositionToken: s.token()}
	for _, record := range batch {
		event := &pb.Event{}
		if err := proto.Unmarshal(record[1:], event); err != nil {
			return 0, err
		}
		request.Events = append(request.Events, event)
	}
	acknowledgement, err := s.wire.publish(s.ctx, request)
	if err != nil {
		if known := fromRPC(err); known.Code == codes.InvalidArgument {
			return s.refused(batch, known)
		}
		return 0, err
	}
	for _, rejection := range acknowledgement.Rejections {
		_, field, _ := strings.Cut(rejection.Field, ".")
		s.reject(batch[rejection.Index], rejection.Code, field, rejection.Message)
	}
	s.acknowledged(int(acknowledgement.Accepted), acknowledgement.PositionToken)
	return len(batch), nil
}

func (s *sender) sendIdentity(record []byte) (int, error) {
	request := &pb.IdentifyRequest{}
	if err := proto.Unmarshal(record[1:], request); err != nil {
		return 0, err
	}
	request.AppId, request.PositionToken = orDefault(request.AppId, s.app), s.token()
	token, err := s.wire.identify(s.ctx, request)
	if err != nil {
		// One that names a field is about this user, not about the key.
		if known := fromRPC(err); !known.Retryable() && len(known.Violations) > 0 {
			return s.refused([][]byte{record}, known)
		}
		return 0, err
	}
	s.acknowledged(0, token)
	return 1, nil
}

// refused is about a batch that was refused as a whole.
func (s *sender) refused(batch [][]byte, err *Error) (int, error) {
	for _, violation := range err.Violations {
		if violation.Field == "position_token" && s.token() != "" {
			s.mu.Lock()
			s.total.Token = "" // another installation's
			s.mu.Unlock()
			return s.send(batch)
		}
	}
	if len(batch) > 1 {
		return s.send(batch[:len(batch)/2]) // more than the server takes at once
	}
	violation := Violation{Reason: orDefault(err.Reason, err.Code.String()), Description: err.Message}
	if len(err.Violations) > 0 {
		violation = err.Violations[0]
	}
	s.reject(batch[0], violation.Reason, strings.TrimPrefix(violation.Field, "events[0]."), violation.Description)
	return 1, nil
}

func (s *sender) acknowledged(accepted int, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total.Accepted += accepted
	s.total.Token = orDefault(token, s.total.Token)
}

func (s *sender) reject(record []byte, code, field, description string) {
	s.mu.Lock()
	s.total.Rejected++
	s.mu.Unlock()
	rejection := Rejection{Code: code, Field: field, Description: description}
	rejection.Event, rejection.Identity = decoded(record)
	s.onRejected(rejection)
}

func (s *sender) drop(count int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.store.drop(count); err != nil {
		return err
	}
	s.done += uint64(count)
	s.freeRoom()
	s.settle()
	return nil
}

// settle ends the flushes that have what they wait for.
func (s *sender) settle() {
	var left []flush
	for _, flush := range s.flushes {
		if s.done < flush.target {
			left = append(left, flush)
			continue
		}
		flush.told <- flushEnd{flushed: s.total}
		s.total.Accepted, s.total.Rejected = 0, 0
	}
	s.flushes = left
}

func (s *sender) freeRoom() {
	close(s.room)
	s.room, s.waiting = make(chan struct{}), 0
}

// fail tells all who wait what keeps the queue from being sent. It stays as it is until the next flush.
func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.failure = err
		slog.Error("penstock: what is queued can't be sent, and stays queued until the next flush", "error", err)
	}
	for _, flush := range s.flushes {
		flush.told <- flushEnd{err: err}
	}
	s.flushes = nil
	s.freeRoom()
}

// pause waits until it is worth trying again.
func (s *sender) pause(err *Error, attempt int) {
	longest := min(retryMost, retryFirst<<min(attempt-1, 16))
	pause := max(err.RetryAfter, time.Duration(rand.Int64N(int64(longest))))
	slog.Warn("penstock: a batch is sent again", "after", pause, "error", err)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// sleep waits so long, or, if it is 0, until something is new.
func (s *sender) sleep(wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-s.wake:
	case <-s.ctx.Done():
	}
}

// encodedEvent returns an event as a record, and its id.
func encodedEvent(event Event) (id string, record []byte, err error) {
	properties, err := toValues(event.Properties, "properties")
	if err != nil {
		return "", nil, err
	}
	id = event.ID
	if id == "" {
		id = newEventID()
	}
	at := event.Timestamp
	if at.IsZero() {
		at = time.Now() // when it was tracked, however late it is sent
	}
	message := &pb.Event{
		EventId: id, EventType: event.Type, UserId: event.UserID, Timestamp: timestamppb.New(at), Properties: properties, AppId: event.App,
	}
	record, err = proto.MarshalOptions{}.MarshalAppend([]byte{eventRecord}, message)
	return id, record, err
}

// encodedIdentity returns what is known of a user as a record.
func encodedIdentity(identity Identity) ([]byte, error) {
	traits, err := toValues(identity.Traits, "traits")
	if err != nil {
		return nil, err
	}
	message := &pb.IdentifyRequest{UserId: identity.UserID, Traits: traits, AppId: identity.App}
	return proto.MarshalOptions{}.MarshalAppend([]byte{identityRecord}, message)
}

func decoded(record []byte) (*Event, *Identity) {
	if record[0] == identityRecord {
		user := &pb.IdentifyRequest{}
		if proto.Unmarshal(record[1:], user) != nil {
			return nil, nil
		}
		return nil, &Identity{UserID: user.UserId, Traits: fromValues(user.Traits), App: user.AppId}
	}
	event := &pb.Event{}
	if proto.Unmarshal(record[1:], event) != nil {
		return nil, nil
	}
	return &Event{
		Type: event.EventType, UserID: event.UserId, Properties: fromValues(event.Properties), Timestamp: event.Timestamp.AsTime(),
		ID: event.EventId, App: event.AppId,
	}, nil
}
