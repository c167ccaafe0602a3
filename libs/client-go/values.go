package penstock

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	pb "penstock.dev/client/penstockpb"
)

const exact = 1 << 53

// toValue puts a value on the wire. The error says where it stands and what would be right.
func toValue(value any, where string) (*pb.Value, error) {
	switch value := value.(type) {
	case time.Time:
		return &pb.Value{Kind: &pb.Value_Time{Time: timestamppb.New(value)}}, nil
	case fmt.Stringer:
		return &pb.Value{Kind: &pb.Value_String_{String_: value.String()}}, nil
	}
	v := reflect.ValueOf(value)
	switch {
	case v.Kind() == reflect.String:
		return &pb.Value{Kind: &pb.Value_String_{String_: v.String()}}, nil
	case v.Kind() == reflect.Bool:
		return &pb.Value{Kind: &pb.Value_Bool{Bool: v.Bool()}}, nil
	case v.CanInt():
		return toInteger(v.Int(), v.Int() < -exact || v.Int() > exact, where)
	case v.CanUint():
		return toInteger(int64(v.Uint()), v.Uint() > exact, where)
	case v.CanFloat():
		if math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			return nil, fmt.Errorf("penstock: %s is %v: numbers must be finite", where, v.Float())
		}
		return &pb.Value{Kind: &pb.Value_Number{Number: v.Float()}}, nil
	}
	return nil, fmt.Errorf("penstock: %s is a %T: values are bool, integers, floats, string or time.Time; leave out what is nil", where, value)
}

func toInteger(value int64, inexact bool, where string) (*pb.Value, error) {
	if inexact {
		return nil, fmt.Errorf("penstock: %s is beyond 2^53, where numbers are no longer exact: send large ids as text", where)
	}
	return &pb.Value{Kind: &pb.Value_Integer{Integer: value}}, nil
}

// toValues puts values on the wire, but for those that are nil.
func toValues(values map[string]any, what string) (map[string]*pb.Value, error) {
	wire := make(map[string]*pb.Value, len(values))
	for name, value := range values {
		if value == nil {
			continue
		}
		one, err := toValue(value, what+"."+name)
		if err != nil {
			return nil, err
		}
		wire[name] = one
	}
	return wire, nil
}

// fromValue takes a value off the wire: float64, int64, string, bool, time.Time in UTC, or nil.
func fromValue(value *pb.Value) any {
	switch kind := value.GetKind().(type) {
	case *pb.Value_Number:
		return kind.Number
	case *pb.Value_Integer:
		return kind.Integer
	case *pb.Value_String_:
		return kind.String_
	case *pb.Value_Bool:
		return kind.Bool
	case *pb.Value_Time:
		return kind.Time.AsTime()
	}
	return nil
}

func fromValues(wire map[string]*pb.Value) map[string]any {
	values := make(map[string]any, len(wire))
	for name, value := range wire {
		values[name] = fromValue(value)
	}
	return values
}

var ids struct {
	sync.Mutex
	ms    uint64
	count uint64
}

// newEventID makes a UUIDv7: by time, and among those of one process strictly ascending.
func newEventID() string {
	var random [10]byte
	rand.Read(random[:]) // never fails
	now := uint64(time.Now().UnixMilli())
	ids.Lock()
	// Within a millisecond, or when the clock goes back, the 12 bits behind the time count on; then the time does.
	switch {
	case now > ids.ms:
		ids.ms, ids.count = now, uint64(binary.BigEndian.Uint16(random[8:])>>5)
	case ids.count < 0xfff:
		ids.count++
	default:
		ids.ms, ids.count = ids.ms+1, 0
	}
	high := ids.ms<<16 | 7<<12 | ids.count
	ids.Unlock()
	low := binary.BigEndian.Uint64(random[:8])&(1<<62-1) | 1<<63
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xffff, high&0xffff, low>>48, low&(1<<48-1))
}
