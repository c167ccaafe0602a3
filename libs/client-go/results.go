package penstock

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	pb "penstock.dev/client/penstockpb"
)

// Column is a column of an answer.
type Column struct {
	// Name is the alias, or the text of the expression.
	Name string
	// Type is number, integer, string, bool or time. Any value may be null.
	Type string
	// Unit is that of the values, as in "USD"; empty if none is known.
	Unit string
	// Sketch is empty when the values are exact; else the sketch that they come from.
	Sketch string
}

// Info is what is known of an answer beside its rows.
type Info struct {
	// CompleteUntil: every event acknowledged before this instant is in the answer.
	CompleteUntil time.Time
	// Token is the position reached: see [AfterToken].
	Token string
	// Route is where it came from: raw, rollup, cache or states.
	Route string
	// Elapsed is the time from the request's arrival to the last row.
	Elapsed time.Duration
	// ReadRows and ReadBytes are what was read from tables, the bytes uncompressed.
	ReadRows, ReadBytes uint64
	// Queued is how much of the time it waited for its turn.
	Queued time.Duration
	// Truncated is whether rows were left out because the row cap was reached.
	Truncated bool
	// Stale is whether it is an earlier answer: see [MaxStaleness].
	Stale bool
}

// Result is an answer.
//
// T is a struct, whose fields take the columns of the names in their tags `penstock:"name"`, or else of their own names in snake case; or
// map[string]any. A pointer takes null as nil, everything else takes it as its zero value. Instants are [time.Time].
type Result[T any] struct {
	// Columns are in the order in which they were asked for.
	Columns []Column
	// Rows are its rows.
	Rows []T
	// Info says as of when it is, where it came from and what it cost.
	Info Info
}

// Update is a push of a subscription: the whole answer as it is now, and what is different from before.
type Update[T any] struct {
	Result[T]
	// Changed are rows that are new or in the place of another; all of them in the first update.
	Changed []T
	// Removed are the keys of rows that are gone, by the columns of Keys.
	Removed []map[string]any
	// Keys are the columns whose values tell rows apart: the groups. None: all together do.
	Keys []string
}

// liveAnswer is the state of a subscription, push by push.
type liveAnswer[T any] struct {
	columns []Column
	info    Info
	keys    []uint32
	decoder *decoder[T]
	order   []string
	rows    map[string][]T // by key, or, where all columns together tell rows apart, equal rows counted
}

// push takes a push; false for a heartbeat.
func (l *liveAnswer[T]) push(push *pb.SubscribeResponse) (update Update[T], news bool, err error) {
	var upserted []*pb.Row
	switch push := push.Push.(type) {
	case *pb.SubscribeResponse_State:
		result := push.State.Result
		l.columns, l.info, l.keys = columnsOf(result.Columns), infoOf(result.Info), push.State.KeyColumns
		if l.decoder, err = newDecoder[T](l.columns); err != nil {
			return update, false, err
		}
		l.rows, l.order = map[string][]T{}, nil
		upserted = result.Rows
	case *pb.SubscribeResponse_Change:
		l.info = infoOf(push.Change.Info)
		for _, row := range push.Change.Removed {
			update.Removed = append(update.Removed, l.keyed(row.Values))
			l.remove(textOf(row.Values))
		}
		upserted = push.Change.Upserted
	default:
		return update, false, nil
	}
	for _, wire := range upserted {
		row, err := l.decoder.row(wire)
		if err != nil {
			return update, false, err
		}
		update.Changed = append(update.Changed, row)
		l.put(wire.Values, row)
	}
	for _, key := range l.order {
		update.Rows = append(update.Rows, l.rows[key]...)
	}
	for _, key := range l.keys {
		update.Keys = append(update.Keys, l.columns[key].Name)
	}
	update.Columns, update.Info = l.columns, l.info
	return update, true, nil
}

func (l *liveAnswer[T]) put(values []*pb.Value, row T) {
	of := values
	if len(l.keys) > 0 {
		of = make([]*pb.Value, len(l.keys))
		for i, key := range l.keys {
			of[i] = values[key]
		}
	}
	key := textOf(of)
	rows, known := l.rows[key]
	if !known {
		l.order = append(l.order, key)
	}
	if len(l.keys) > 0 {
		rows = nil
	}
	l.rows[key] = append(rows, row)
}

func (l *liveAnswer[T]) remove(key string) {
	rows := l.rows[key]
	if len(rows) > 1 {
		l.rows[key] = rows[:len(rows)-1]
	} else if len(rows) == 1 {
		delete(l.rows, key)
		l.order = slices.DeleteFunc(l.order, func(other string) bool { return other == key })
	}
}

func (l *liveAnswer[T]) keyed(values []*pb.Value) map[string]any {
	key := map[string]any{}
	for i, value := range values {
		column := i
		if len(l.keys) > 0 {
			column = int(l.keys[i])
		}
		key[l.columns[column].Name] = fromValue(value)
	}
	return key
}

// textOf tells rows apart by their values.
func textOf(values []*pb.Value) string {
	var text strings.Builder
	for _, value := range values {
		fmt.Fprintf(&text, "%T %[1]q ", fromValue(value))
	}
	return text.String()
}

// decoder makes Ts out of rows.
type decoder[T any] struct {
	columns []Column
	fields  [][]int // for each column the field that takes it; nil if none does
}

func newDecoder[T any](columns []Column) (*decoder[T], error) {
	kind := reflect.TypeFor[T]()
	if kind == reflect.TypeFor[map[string]any]() {
		return &decoder[T]{columns: columns}, nil
	}
	if kind.Kind() != reflect.Struct {
		return nil, fmt.Errorf("penstock: rows are structs or map[string]any, not %s", kind)
	}
	made := &decoder[T]{columns: columns, fields: make([][]int, len(columns))}
	for _, field := range reflect.VisibleFields(kind) {
		name, tagged := field.Tag.Lookup("penstock")
		if name == "-" || !field.IsExported() || field.Anonymous {
			continue
		}
		if !tagged {
			name = snake(field.Name)
		}
		column := -1
		for i := range columns {
			if columns[i].Name == name {
				column = i
			}
		}
		if column < 0 {
			return nil, fmt.Errorf("penstock: there is no column %q for %s.%s: there are %s", name, kind, field.Name, names(columns))
		}
		made.fields[column] = field.Index
	}
	return made, nil
}

func (d *decoder[T]) row(wire *pb.Row) (row T, err error) {
	if d.fields == nil {
		values := make(map[string]any, len(d.columns))
		for i, value := range wire.Values {
			values[d.columns[i].Name] = fromValue(value)
		}
		return any(values).(T), nil
	}
	into := reflect.ValueOf(&row).Elem()
	for i, field := range d.fields {
		if field == nil {
			continue
		}
		if err := set(into.FieldByIndex(field), fromValue(wire.Values[i])); err != nil {
			return row, fmt.Errorf("penstock: the column %q: %w", d.columns[i].Name, err)
		}
	}
	return row, nil
}

func set(field reflect.Value, value any) error {
	if value == nil {
		return nil
	}
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	from := reflect.ValueOf(value)
	switch {
	case from.Type().AssignableTo(field.Type()):
		field.Set(from)
	case field.CanInt() && from.CanInt() && !field.OverflowInt(from.Int()):
		field.SetInt(from.Int())
	case field.CanUint() && from.CanInt() && from.Int() >= 0 && !field.OverflowUint(uint64(from.Int())):
		field.SetUint(uint64(from.Int()))
	case field.CanFloat() && (from.CanFloat() || from.CanInt()):
		field.Set(from.Convert(field.Type()))
	case field.Kind() == from.Kind() && from.Kind() != reflect.Struct:
		field.Set(from.Convert(field.Type()))
	default:
		return fmt.Errorf("%v is a %T, and the field a %s", value, value, field.Type())
	}
	return nil
}

// snake is a field's name as columns are named: UserID is user_id.
func snake(name string) string {
	var text strings.Builder
	letters := []rune(name)
	for i, letter := range letters {
		if unicode.IsUpper(letter) && i > 0 && (unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			text.WriteByte('_')
		}
		text.WriteRune(unicode.ToLower(letter))
	}
	return text.String()
}

func names(columns []Column) string {
	all := make([]string, len(columns))
	for i, column := range columns {
		all[i] = column.Name
	}
	return strings.Join(all, ", ")
}

func resultOf[T any](wire *pb.Result) (*Result[T], error) {
	result := &Result[T]{Columns: columnsOf(wire.GetColumns()), Info: infoOf(wire.GetInfo())}
	decoder, err := newDecoder[T](result.Columns)
	if err != nil {
		return nil, err
	}
	for _, row := range wire.GetRows() {
		made, err := decoder.row(row)
		if err != nil {
			return nil, err
		}
		result.Rows = append(result.Rows, made)
	}
	return result, nil
}

func columnsOf(wire []*pb.Column) []Column {
	columns := make([]Column, len(wire))
	for i, column := range wire {
		kind := strings.ToLower(strings.TrimPrefix(column.Type.String(), "COLUMN_TYPE_"))
		columns[i] = Column{column.Name, kind, column.Unit, column.Sketch}
	}
	return columns
}

func infoOf(wire *pb.ResultInfo) Info {
	cost := wire.GetCost()
	info := Info{
		Token:    wire.GetWatermark().GetPositionToken(),
		Route:    strings.ToLower(strings.TrimPrefix(wire.GetRoute().String(), "ROUTE_")),
		Elapsed:  time.Duration(cost.GetElapsedUs()) * time.Microsecond,
		ReadRows: cost.GetReadRows(), ReadBytes: cost.GetReadBytes(),
		Queued:    time.Duration(cost.GetQueuedUs()) * time.Microsecond,
		Truncated: wire.GetTruncated(), Stale: wire.GetStale(),
	}
	if complete := wire.GetWatermark().GetCompleteUntil(); complete != nil {
		info.CompleteUntil = complete.AsTime()
	}
	return info
}
