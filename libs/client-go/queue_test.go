package penstock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	pb "penstock.dev/client/penstockpb"
)

const (
	never = time.Hour
	all   = 1 << 30
)

func record(text string) []byte { return append([]byte{eventRecord}, text...) }

func texts(t *testing.T, records [][]byte, err error) (found []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		found = append(found, string(record[1:]))
	}
	return found
}

func opened(t *testing.T, dir string, records ...string) *files {
	t.Helper()
	queue, err := openFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range records {
		if err := queue.add(record(text)); err != nil {
			t.Fatal(err)
		}
	}
	return queue
}

func left(t *testing.T, dir string) (found []string) {
	t.Helper()
	queue := opened(t, dir)
	defer queue.close()
	for queue.records() > 0 {
		first, err := queue.first(100, all)
		found = append(found, texts(t, first, err)...)
		if err := queue.drop(len(first)); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestAKeyOutOfAFileIsGoodAndWhatNoCallCouldCarryIsRefusedAtOnce(t *testing.T) {
	client, err := New(Options{Key: " pnsk_live_x\r\n"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	if client.options.Key != "pnsk_live_x" {
		t.Errorf("%q", client.options.Key)
	}
	for _, wrong := range []string{" \n", "a b", "a\nb", "pnsk_l\u00efve", "a\x00"} {
		if _, err := New(Options{Key: wrong}); err == nil {
			t.Errorf("%q is a key", wrong)
		}
	}
}

func TestWhatIsAcknowledgedIsGoneAndTheRestIsThereAtTheNextStart(t *testing.T) {
	dir := t.TempDir()
	queue := opened(t, dir, strings.Split("abcdefghij", "")...)
	first, err := queue.first(2, all)
	same(t, texts(t, first, err), []string{"a", "b"})
	queue.drop(3)
	queue.close()
	again := opened(t, dir)
	same(t, again.records(), 7)
	first, err = again.first(1, 1)
	same(t, texts(t, first, err), []string{"d"})
	again.add(record("later"))
	again.drop(6)
	again.close()
	same(t, left(t, dir), []string{"j", "later"})
	same(t, left(t, dir), nil)
}

func TestATornEndIsCutOffAndNothingBeforeIt(t *testing.T) {
	for cut := 1; cut < len(record("three"))+headerBytes; cut++ {
		dir := t.TempDir()
		opened(t, dir, "one", "two", "three").close()
		file := filepath.Join(dir, "00000001.queue")
		info, _ := os.Stat(file)
		os.Truncate(file, info.Size()-int64(cut))
		same(t, left(t, dir), []string{"one", "two"})
	}
}

func TestARecordThatWasChangedIsNotSent(t *testing.T) {
	dir := t.TempDir()
	opened(t, dir, "one", "two").close()
	file := filepath.Join(dir, "00000001.queue")
	data, _ := os.ReadFile(file)
	os.WriteFile(file, []byte(strings.Replace(string(data), "two", "tvo", 1)), 0o600)
	same(t, left(t, dir), []string{"one"})
}

func TestManyFilesAreOneQueueAndThoseThatAreDoneAreDeleted(t *testing.T) {
	dir := t.TempDir()
	var long []string
	for _, digit := range strings.Split("01234", "") {
		long = append(long, strings.Repeat(digit, 3<<20))
	}
	queue := opened(t, dir, long...)
	there := func() int { names, _ := filepath.Glob(filepath.Join(dir, "*.queue")); return len(names) }
	if there() <= 2 {
		t.Fatal("all is in one file")
	}
	queue.close()
	same(t, slices.Equal(left(t, dir), long), true)
	same(t, there(), 1)
}

func TestADirectoryIsOneClientS(t *testing.T) {
	dir := t.TempDir()
	queue := opened(t, dir)
	if _, err := openFiles(dir); err == nil {
		t.Fatal("two have it")
	}
	queue.close()
	opened(t, dir).close()
}

// house is a server that does as it is told: it refuses what refusals say, one call after another, and takes the rest.
type house struct {
	mu       sync.Mutex
	refusals []error
	batches  [][]string
	tokens   []string
	called   chan struct{}
	open     chan struct{}
}

func newHouse(refusals ...error) *house {
	h := &house{refusals: refusals, called: make(chan struct{}, 1000), open: make(chan struct{})}
	close(h.open)
	return h
}

func (h *house) take(batch []string, token string) (string, error) {
	h.called <- struct{}{}
	<-h.open
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.refusals) > 0 {
		refusal := h.refusals[0]
		h.refusals = h.refusals[1:]
		return "", refusal
	}
	h.batches, h.tokens = append(h.batches, batch), append(h.tokens, token)
	return fmt.Sprintf("token %d", len(h.batches)), nil
}

func (h *house) publish(_ context.Context, request *pb.PublishRequest) (*pb.Acknowledgement, error) {
	var types []string
	answer := &pb.Acknowledgement{}
	for i, event := range request.Events {
		types = append(types, event.EventType)
		if event.EventType == "bad" {
			field := fmt.Sprintf("events[%d].properties.x", i)
			answer.Rejections = append(answer.Rejections, &pb.Rejection{Index: uint32(i), Code: "TOO_LONG", Field: field, Message: "no"})
		}
	}
	answer.Accepted = uint32(len(types) - len(answer.Rejections))
	token, err := h.take(types, request.PositionToken)
	answer.PositionToken = token
	return answer, err
}

func (h *house) identify(_ context.Context, request *pb.IdentifyRequest) (string, error) {
	return h.take([]string{"identify " + request.UserId}, request.PositionToken)
}

func sending(t *testing.T, h *house, limits Limits) (*sender, *[]Rejection) {
	rejections := &[]Rejection{}
	limits.BatchTime = orDefault(limits.BatchTime, never)
	s := newSender(&memory{}, h, "app", limits, func(r Rejection) { *rejections = append(*rejections, r) })
	t.Cleanup(func() { s.close(false) })
	return s, rejections
}

func event(t *testing.T, eventType string) []byte {
	t.Helper()
	_, record, err := encodedEvent(Event{Type: eventType, UserID: "u"})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func track(t *testing.T, s *sender, types ...string) {
	t.Helper()
	for _, eventType := range types {
		if room, err := s.offer(event(t, eventType)); room != nil || err != nil {
			t.Fatal("no room", err)
		}
	}
}

func flushed(t *testing.T, s *sender) Flushed {
	t.Helper()
	done, err := s.flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestBatchesLeaveByCountBytesAndTimeInOrder(t *testing.T) {
	h := newHouse()
	s, _ := sending(t, h, Limits{BatchEvents: 3})
	h.open = make(chan struct{})
	track(t, s, strings.Split("abcdefg", "")...)
	<-h.called
	close(h.open)
	same(t, flushed(t, s).Accepted, 7)
	same(t, h.batches, [][]string{{"a", "b", "c"}, {"d", "e", "f"}, {"g"}})
	for _, limits := range []Limits{{BatchBytes: 200}, {BatchTime: time.Millisecond}} {
		h := newHouse()
		s, _ := sending(t, h, limits)
		track(t, s, strings.Repeat("x", 120), strings.Repeat("y", 120))
		<-h.called
	}
}

func TestEachTokenCoversWhatCameBeforeAndUsersAreToldOfInTheirTurn(t *testing.T) {
	h := newHouse()
	s, _ := sending(t, h, Limits{})
	track(t, s, "a", "b")
	identity, _ := encodedIdentity(Identity{UserID: "u", Traits: map[string]any{"plan": "pro"}})
	s.offer(identity)
	track(t, s, "c")
	same(t, flushed(t, s), Flushed{3, 0, "token 3"})
	same(t, h.batches, [][]string{{"a", "b"}, {"identify u"}, {"c"}})
	same(t, h.tokens, []string{"", "token 1", "token 2"})
}

func TestWhatMaySucceedLaterIsSentAgain(t *testing.T) {
	busy := &Error{Code: codes.ResourceExhausted, Reason: "RESOURCE_EXHAUSTED", RetryAfter: 10 * time.Millisecond}
	h := newHouse(&Error{Code: codes.Unavailable}, busy, &Error{Code: codes.Internal})
	s, _ := sending(t, h, Limits{})
	track(t, s, "a")
	same(t, flushed(t, s).Accepted, 1)
}

func TestWhatCanNotSucceedStaysQueuedAndSaysWhy(t *testing.T) {
	h := newHouse(&Error{Code: codes.Unauthenticated, Reason: "UNAUTHENTICATED"})
	s, _ := sending(t, h, Limits{})
	track(t, s, "a")
	if _, err := s.flush(t.Context()); !errors.Is(err, Unauthenticated) {
		t.Fatal(err)
	}
	same(t, s.pending(), 1)
	same(t, flushed(t, s).Accepted, 1)
}

func TestABatchThatIsTooLargeIsHalvedUntilItFits(t *testing.T) {
	tooLong := &Error{Code: codes.InvalidArgument, Violations: []Violation{{"events", "TOO_LONG", "the limit is 1"}}}
	s, rejections := sending(t, newHouse(tooLong, tooLong, tooLong), Limits{})
	track(t, s, strings.Split("abcde", "")...)
	done := flushed(t, s)
	same(t, [2]int{done.Accepted, done.Rejected}, [2]int{4, 1})
	same(t, [2]string{(*rejections)[0].Code, (*rejections)[0].Event.Type}, [2]string{"TOO_LONG", "a"})
}

func TestAnotherInstallationSTokenIsForgotten(t *testing.T) {
	h := newHouse()
	s, _ := sending(t, h, Limits{})
	track(t, s, "a")
	flushed(t, s)
	h.refusals = []error{&Error{Code: codes.InvalidArgument, Violations: []Violation{{Field: "position_token"}}}}
	track(t, s, "b")
	same(t, flushed(t, s).Accepted, 1)
	same(t, h.tokens, []string{"", ""})
}

func TestEachRejectedEventIsHandedBackWithItsReason(t *testing.T) {
	s, rejections := sending(t, newHouse(), Limits{})
	track(t, s, "good", "bad", "good")
	done := flushed(t, s)
	same(t, [2]int{done.Accepted, done.Rejected}, [2]int{2, 1})
	rejection := (*rejections)[0]
	same(t, []string{rejection.Code, rejection.Field, rejection.Event.UserID}, []string{"TOO_LONG", "properties.x", "u"})
}

func TestAFullQueueTakesNoMoreUntilThereIsRoom(t *testing.T) {
	h := newHouse()
	h.open = make(chan struct{})
	s, _ := sending(t, h, Limits{QueueBytes: 500})
	tracked := 0
	var room <-chan struct{}
	for ; room == nil; tracked++ {
		var err error
		if room, err = s.offer(event(t, "e")); err != nil {
			t.Fatal(err)
		}
	}
	<-h.called
	select {
	case <-room:
		t.Fatal("there is room while the server takes nothing")
	default:
	}
	close(h.open)
	<-room
	track(t, s, "e")
	same(t, flushed(t, s).Accepted, tracked)
}

func TestWhatIsNotSentAtTheEndIsHandedBack(t *testing.T) {
	s, rejections := sending(t, newHouse(), Limits{})
	track(t, s, "a", "b")
	s.close(false)
	same(t, []string{(*rejections)[0].Code, (*rejections)[1].Code}, []string{"NOT_SENT", "NOT_SENT"})
	if _, err := s.offer(event(t, "c")); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestIDsAscendAndWhatCanNotBeSentSaysSo(t *testing.T) {
	var ids []string
	for range 10_000 {
		ids = append(ids, newEventID())
	}
	same(t, slices.IsSorted(ids), true)
	same(t, len(slices.Compact(ids)), 10_000)
	same(t, ids[0][14:15], "7")
	for _, value := range []any{1<<53 + 1, math.NaN(), []int{}, uint64(math.MaxUint64)} {
		if _, err := toValue(value, "properties.x"); err == nil || !strings.Contains(err.Error(), "properties.x") {
			t.Fatal(value, err)
		}
	}
}

func TestRowsGoIntoStructsByTagsAndNames(t *testing.T) {
	type row struct {
		UserID string
		Worth  *float64 `penstock:"amount"`
		N      uint8
		Unused string `penstock:"-"`
	}
	columns := []Column{{Name: "n"}, {Name: "amount"}, {Name: "more"}, {Name: "user_id"}}
	decoder, err := newDecoder[row](columns)
	if err != nil {
		t.Fatal(err)
	}
	integer := func(i int64) *pb.Value { return &pb.Value{Kind: &pb.Value_Integer{Integer: i}} }
	text := &pb.Value{Kind: &pb.Value_String_{String_: "u"}}
	null := &pb.Value{Kind: &pb.Value_Null{}}
	got, err := decoder.row(&pb.Row{Values: []*pb.Value{integer(7), null, text, text}})
	same(t, err, nil)
	same(t, got, row{UserID: "u", N: 7})
	got, _ = decoder.row(&pb.Row{Values: []*pb.Value{integer(7), integer(2), text, text}})
	same(t, *got.Worth, 2)
	if _, err := decoder.row(&pb.Row{Values: []*pb.Value{integer(300), null, text, text}}); err == nil {
		t.Fatal("300 is no uint8")
	}
	if _, err := newDecoder[struct{ Typo string }](columns); err == nil || !strings.Contains(err.Error(), `"typo"`) {
		t.Fatal(err)
	}
}
