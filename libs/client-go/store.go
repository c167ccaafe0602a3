package penstock

// A record is one byte, what it is, and then a message of the contracts.
const (
	eventRecord byte = iota
	identityRecord
)

// overhead is what a record takes in memory beside its bytes, about.
const overhead = 96

// store is a queue of records, first in first out. It is not safe for several goroutines by itself.
type store interface {
	// records is how many there are.
	records() int
	// size is what they take, in bytes.
	size() int
	// add puts a record at the end. With an error it isn't queued.
	add(record []byte) error
	// first returns the first records, at least one if there are any.
	first(most, mostBytes int) ([][]byte, error)
	// drop forgets the first records: they are acknowledged.
	drop(count int) error
	// close lets go of what the system gave.
	close()
}

// memory has records in memory.
type memory struct {
	queue [][]byte
	bytes int
}

func (m *memory) records() int { return len(m.queue) }
func (m *memory) size() int    { return m.bytes }
func (m *memory) close()       {}

func (m *memory) add(record []byte) error {
	m.queue = append(m.queue, record)
	m.bytes += len(record) + overhead
	return nil
}

func (m *memory) first(most, mostBytes int) ([][]byte, error) {
	count := fit(min(most, len(m.queue)), mostBytes, func(i int) int { return len(m.queue[i]) })
	return m.queue[:count:count], nil
}

func (m *memory) drop(count int) error {
	for i, record := range m.queue[:count] {
		m.bytes -= len(record) + overhead
		m.queue[i] = nil
	}
	m.queue = m.queue[count:]
	return nil
}

// fit says how many of the sizes fit into so many bytes: at least one, if there is one.
func fit(count, mostBytes int, size func(int) int) int {
	total := 0
	for i := range count {
		total += size(i)
		if i > 0 && total > mostBytes {
			return i
		}
	}
	return count
}
