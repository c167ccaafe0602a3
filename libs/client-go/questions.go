package penstock

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	pb "penstock.dev/client/penstockpb"
)

// Question is SQL as text, [Select], or a [TypedQuery].
type Question interface {
	ask(app string) (sql *pb.SqlQuery, query *pb.TypedQuery, err error)
}

// Select is a question in SQL, over the tables events and users.
type Select string

func (s Select) ask(app string) (*pb.SqlQuery, *pb.TypedQuery, error) {
	return &pb.SqlQuery{Sql: string(s), AppId: app}, nil, nil
}

// TypedQuery is a typed question.
type TypedQuery struct {
	// Measures are what to compute. At least one.
	Measures []Measure
	// Shape is by what it is split, and of what.
	Shape
	// Offset is how many rows to pass over first.
	Offset int
}

// Measure is what to compute.
type Measure struct {
	// Name is the result column's. Default: the formula.
	Name string
	// Formula is as in "SUM(amount) / COUNT(DISTINCT user_id)".
	Formula string
	// Unit is that of the value, as in "USD". Default: what comes of the units of the formulas that it names.
	Unit string
}

// Dimension is by what to group.
type Dimension struct {
	// Name is the result column's. Default: the expression.
	Name string
	// Expression is as in "country".
	Expression string
}

// By groups by expressions, as in By("country", "user_plan").
func By(expressions ...string) []Dimension {
	dimensions := make([]Dimension, len(expressions))
	for i, expression := range expressions {
		dimensions[i].Expression = expression
	}
	return dimensions
}

// Filter is a condition on a field or property.
type Filter struct {
	// Field is the field or property.
	Field string
	// Op is one of = != < <= > >= in, not in, like, is null, is not null.
	Op string
	// Values are one; several for in and not in; none for is null and is not null.
	Values []any
}

// Where is a filter, as in Where("country", "in", "DE", "FR").
func Where(field, op string, values ...any) Filter { return Filter{field, op, values} }

// Grain is the width of a time bucket. Weeks begin on Monday.
type Grain = pb.Grain

// The grains.
const (
	Minute  = pb.Grain_GRAIN_MINUTE
	Hour    = pb.Grain_GRAIN_HOUR
	Day     = pb.Grain_GRAIN_DAY
	Week    = pb.Grain_GRAIN_WEEK
	Month   = pb.Grain_GRAIN_MONTH
	Quarter = pb.Grain_GRAIN_QUARTER
	Year    = pb.Grain_GRAIN_YEAR
)

// Range is a range of time: from an instant up to another, excluded; the last so long; or whole units of the calendar. Zero: all time.
type Range struct {
	// From is the first instant, and To the one at which it ends, which isn't in it any more. Zero: there is none.
	From, To time.Time
	// Last is how long the time up to now is. Goes before From and To.
	Last time.Duration
	// Period is whole units of the calendar. Goes before all others.
	Period *Period
}

// Period is whole units of the calendar in the query's zone: Period{Unit: Month} is this month, Period{Unit: Day, Ago: 1} yesterday.
type Period struct {
	// Unit is the unit. Required.
	Unit Grain
	// Ago is how many units the last of them lies back.
	Ago int
	// Count is how many units. Default: one.
	Count int
}

// Top is of one dimension only the values with the greatest measures.
type Top struct {
	// N is how many values, 1 to 1,000.
	N int
	// Dimension is the dimension's column. Default: the first.
	Dimension string
	// By is the measure's column. Default: the first.
	By string
	// Others is what the events of all other values are counted under. Empty: they are left out.
	Others string
}

// Earlier is a time that an answer is compared with.
type Earlier = pb.Earlier

// The times to compare with.
const (
	// Previous is the time right before, as long.
	Previous = pb.Earlier_EARLIER_PREVIOUS
	// YearBefore is the same dates a year before.
	YearBefore = pb.Earlier_EARLIER_YEAR
)

// Fill is what a bucket without events says.
type Fill = pb.Fill

// The ways to fill buckets.
const (
	// FillZero gives counts and sums as 0, all else as null.
	FillZero = pb.Fill_FILL_ZERO
	// FillNull gives nulls.
	FillNull = pb.Fill_FILL_NULL
)

// Shape is by what an answer is split, and of what. All of it is optional.
type Shape struct {
	// Dimensions are by what to group.
	Dimensions []Dimension
	// Filters are conditions, all to be met.
	Filters []Filter
	// Range is the time range.
	Range Range
	// Grain makes time buckets; their start becomes the first column, "time".
	Grain Grain
	// OrderBy names columns to sort by; "-revenue" sorts by it descending.
	OrderBy []string
	// Limit is the most rows wanted. 0: all.
	Limit int
	// Having is a condition on rows, as in "revenue > 100".
	Having string
	// Compare is what it is compared with.
	Compare Earlier
	// Fill makes rows for buckets without events.
	Fill Fill
	// Top keeps the greatest values of a dimension.
	Top *Top
	// Totals adds a last row for all events, marked in the column "is_total".
	Totals bool
}

func (q TypedQuery) ask(app string) (*pb.SqlQuery, *pb.TypedQuery, error) {
	shape, err := q.evaluation()
	if err != nil {
		return nil, nil, err
	}
	wire := &pb.TypedQuery{
		AppId: app, Dimensions: shape.Dimensions, Filters: shape.Filters, Range: shape.Range, Grain: shape.Grain, OrderBy: shape.OrderBy,
		Limit: shape.Limit, Offset: uint32(q.Offset), Having: shape.Having, Comparison: shape.Comparison, Fill: shape.Fill, Top: shape.Top,
		Totals: shape.Totals,
	}
	for _, measure := range q.Measures {
		wire.Measures = append(wire.Measures, &pb.Measure{Name: measure.Name, Formula: measure.Formula, Unit: measure.Unit})
	}
	return nil, wire, nil
}

var ops = map[string]pb.FilterOp{
	"=": pb.FilterOp_FILTER_OP_EQ, "!=": pb.FilterOp_FILTER_OP_NE, "<": pb.FilterOp_FILTER_OP_LT, "<=": pb.FilterOp_FILTER_OP_LE,
	">": pb.FilterOp_FILTER_OP_GT, ">=": pb.FilterOp_FILTER_OP_GE, "in": pb.FilterOp_FILTER_OP_IN, "not in": pb.FilterOp_FILTER_OP_NOT_IN,
	"like": pb.FilterOp_FILTER_OP_LIKE, "is null": pb.FilterOp_FILTER_OP_IS_NULL, "is not null": pb.FilterOp_FILTER_OP_IS_NOT_NULL,
}

func (s Shape) evaluation() (*pb.Evaluation, error) {
	wire := &pb.Evaluation{
		Range: s.Range.wire(), Grain: s.Grain, Limit: uint32(s.Limit), Having: s.Having, Fill: s.Fill, Totals: s.Totals,
	}
	for _, dimension := range s.Dimensions {
		wire.Dimensions = append(wire.Dimensions, &pb.Dimension{Name: dimension.Name, Expression: dimension.Expression})
	}
	for _, filter := range s.Filters {
		op, known := ops[filter.Op]
		if !known {
			return nil, fmt.Errorf("penstock: the filter on %s has the operator %q: see Filter.Op", filter.Field, filter.Op)
		}
		one := &pb.Filter{Field: filter.Field, Op: op}
		for _, value := range filter.Values {
			value, err := toValue(value, "the filter on "+filter.Field)
			if err != nil {
				return nil, err
			}
			one.Values = append(one.Values, value)
		}
		wire.Filters = append(wire.Filters, one)
	}
	for _, column := range s.OrderBy {
		name, descending := strings.CutPrefix(column, "-")
		wire.OrderBy = append(wire.OrderBy, &pb.OrderBy{Column: name, Descending: descending})
	}
	if s.Compare != 0 {
		wire.Comparison = &pb.Comparison{To: &pb.Comparison_Earlier{Earlier: s.Compare}}
	}
	if s.Top != nil {
		wire.Top = &pb.Top{N: uint32(s.Top.N), Dimension: s.Top.Dimension, By: s.Top.By, Others: s.Top.Others}
	}
	return wire, nil
}

func (r Range) wire() *pb.TimeRange {
	wire := &pb.TimeRange{}
	switch {
	case r.Period != nil:
		wire.Period = &pb.Period{Unit: r.Period.Unit, Ago: uint32(r.Period.Ago), Count: uint32(r.Period.Count)}
	case r.Last != 0:
		wire.Last = durationpb.New(r.Last)
	case r.From.IsZero() && r.To.IsZero():
		return nil
	default:
		if !r.From.IsZero() {
			wire.From = timestamppb.New(r.From)
		}
		if !r.To.IsZero() {
			wire.To = timestamppb.New(r.To)
		}
	}
	return wire
}

// ReadOption says what a read waits for, how urgent it is and in which zone it counts.
type ReadOption func(*reading)

type reading struct {
	options     *pb.ReadOptions
	app         string
	version     uint32
	minInterval time.Duration
}

// After has the answer include what the flush wrote.
func After(flushed Flushed) ReadOption { return AfterToken(flushed.Token) }

// AfterToken has the answer include what the token covers.
func AfterToken(token string) ReadOption {
	return func(r *reading) { r.options.PositionToken = token }
}

// Wait is how long the server waits for that, at most 30 seconds. Default: as long as the call may take.
func Wait(wait time.Duration) ReadOption {
	return func(r *reading) { r.options.MaxWaitMs = uint32(max(1, wait.Milliseconds())) }
}

// TimeZone is the IANA name of the zone in which days, weeks and months begin. Default: the app's.
func TimeZone(name string) ReadOption { return func(r *reading) { r.options.TimeZone = name } }

// Priority is how urgent it is. Default: as the settings say, else as urgent as the key allows.
func Priority(priority pb.Priority) ReadOption {
	return func(r *reading) { r.options.Priority = priority }
}

// MaxStaleness is how old an earlier answer may be that is given while the warehouse can't be reached. Default: none is.
func MaxStaleness(age time.Duration) ReadOption {
	return func(r *reading) { r.options.MaxStaleness = durationpb.New(age) }
}

// InApp asks about another app than the client's.
func InApp(app string) ReadOption { return func(r *reading) { r.app = app } }

// Version evaluates a version of a metric that isn't the newest.
func Version(version int) ReadOption { return func(r *reading) { r.version = uint32(version) } }

// MinInterval is the least time from one update of a subscription to the next, 0.2 s to an hour. Default: 1 s.
func MinInterval(interval time.Duration) ReadOption {
	return func(r *reading) { r.minInterval = interval }
}
