package penstock

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	headerBytes = 8
	sentBytes   = 20
	fileBytes   = 4 << 20
)

// files has records in the files of a directory, which one client has at a time: they outlive the process. Memory holds where they are, not what
// they say.
//
// In files a record is a header, the record's length and its CRC-32, both four bytes, little endian, and then the record. Files are named by
// number; `sent` says up to where in which file all was acknowledged. What a crash cut off at the end of the last file is cut off at
// the next start. The clients in other languages keep the same form.
type files struct {
	dir       string
	lock      *os.File
	sent      *os.File
	sizes     []int  // of each record, with its header
	parts     []part // the files, at least one
	at        int64  // where the first record lies in the first file
	bytes     int
	tail      *os.File
	tailBytes int64
	reading   *os.File
	readingOf int
}

// part is a file, and how many of its records are still there.
type part struct{ number, there int }

func openFiles(dir string) (_ *files, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f := &files{dir: dir}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := lockFile(f.lock); err != nil {
		return nil, fmt.Errorf("penstock: another client has %s, each needs a directory of its own: %w", dir, err)
	}
	sentPart, sentAt, err := f.readSent()
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.queue"))
	if err != nil {
		return nil, err
	}
	last := sentPart
	slices.Sort(names)
	for _, name := range names {
		number, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".queue"))
		if err != nil {
			continue
		}
		if number < sentPart {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		start := int64(0)
		if number == sentPart {
			start = sentAt
		}
		sizes, err := scan(name, start)
		if err != nil {
			return nil, err
		}
		if len(f.parts) == 0 {
			f.at = start
		}
		f.parts = append(f.parts, part{number, len(sizes)})
		f.sizes = append(f.sizes, sizes...)
		for _, size := range sizes {
			f.bytes += size
		}
		last = number
	}
	// Always a new file: the end of an old one is never written again.
	if err := f.open(last + 1); err != nil {
		return nil, err
	}
	return f, f.tidy()
}

func (f *files) records() int { return len(f.sizes) }
func (f *files) size() int    { return f.bytes }

func (f *files) add(record []byte) error {
	if f.tailBytes >= fileBytes {
		f.tail.Close()
		if err := f.open(f.parts[len(f.parts)-1].number + 1); err != nil {
			return err
		}
	}
	written := make([]byte, headerBytes, headerBytes+len(record))
	binary.LittleEndian.PutUint32(written, uint32(len(record)))
	binary.LittleEndian.PutUint32(written[4:], crc32.ChecksumIEEE(record))
	written = append(written, record...)
	if _, err := f.tail.WriteAt(written, f.tailBytes); err != nil {
		// Half a record would hide what follows.
		f.tail.Truncate(f.tailBytes)
		return err
	}
	f.tailBytes += int64(len(written))
	f.parts[len(f.parts)-1].there++
	f.sizes = append(f.sizes, len(written))
	f.bytes += len(written)
	return nil
}

func (f *files) first(most, mostBytes int) ([][]byte, error) {
	head := f.parts[0]
	count := fit(min(most, head.there), mostBytes, func(i int) int { return f.sizes[i] })
	total := 0
	for _, size := range f.sizes[:count] {
		total += size
	}
	reader, err := f.reader(head.number)
	if err != nil {
		return nil, err
	}
	data := make([]byte, total)
	if _, err := reader.ReadAt(data, f.at); err != nil {
		return nil, err
	}
	records := make([][]byte, count)
	for i, size := range f.sizes[:count] {
		records[i], data = data[headerBytes:size:size], data[size:]
	}
	return records, nil
}

func (f *files) drop(count int) error {
	for _, size := range f.sizes[:count] {
		f.at += int64(size)
		f.bytes -= size
	}
	f.sizes = f.sizes[count:]
	f.parts[0].there -= count
	place := make([]byte, sentBytes)
	binary.LittleEndian.PutUint64(place, uint64(f.parts[0].number))
	binary.LittleEndian.PutUint64(place[8:], uint64(f.at))
	binary.LittleEndian.PutUint32(place[16:], crc32.ChecksumIEEE(place[:16]))
	// In one write: read again, it is right or, torn, as if it weren't there.
	if _, err := f.sent.WriteAt(place, 0); err != nil {
		return err
	}
	return f.tidy()
}

func (f *files) close() {
	for _, file := range []*os.File{f.tail, f.reading, f.sent, f.lock} {
		if file != nil {
			file.Close()
		}
	}
}

func (f *files) path(number int) string {
	return filepath.Join(f.dir, fmt.Sprintf("%08d.queue", number))
}

func (f *files) open(number int) (err error) {
	if f.tail, err = os.OpenFile(f.path(number), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	f.tailBytes = 0
	f.parts = append(f.parts, part{number, 0})
	return nil
}

func (f *files) reader(number int) (_ *os.File, err error) {
	if f.reading == nil || f.readingOf != number {
		if f.reading != nil {
			f.reading.Close()
		}
		if f.reading, err = os.Open(f.path(number)); err != nil {
			f.reading = nil
			return nil, err
		}
		f.readingOf = number
	}
	return f.reading, nil
}

// tidy deletes the files before the last of which nothing is left.
func (f *files) tidy() error {
	for len(f.parts) > 1 && f.parts[0].there == 0 {
		if err := os.Remove(f.path(f.parts[0].number)); err != nil {
			return err
		}
		f.parts, f.at = f.parts[1:], 0
	}
	return nil
}

func (f *files) readSent() (number int, at int64, err error) {
	if f.sent, err = os.OpenFile(filepath.Join(f.dir, "sent"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return 0, 0, err
	}
	place := make([]byte, sentBytes)
	_, err = f.sent.ReadAt(place, 0)
	if err == nil && crc32.ChecksumIEEE(place[:16]) == binary.LittleEndian.Uint32(place[16:]) {
		return int(binary.LittleEndian.Uint64(place)), int64(binary.LittleEndian.Uint64(place[8:])), nil
	}
	if err != nil && err != io.EOF {
		return 0, 0, err
	}
	_, err = f.sent.WriteAt(make([]byte, sentBytes), 0) // a full disk shows now
	return 0, 0, err
}

// scan returns the sizes of a file's whole records, and cuts off what follows them.
func scan(name string, start int64) ([]int, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var sizes []int
	at := int(start)
	for at+headerBytes <= len(data) {
		length := int(binary.LittleEndian.Uint32(data[at:]))
		end := at + headerBytes + length
		if length == 0 || end > len(data) || crc32.ChecksumIEEE(data[at+headerBytes:end]) != binary.LittleEndian.Uint32(data[at+4:]) {
			break
		}
		sizes = append(sizes, end-at)
		at = end
	}
	if at < len(data) {
		return sizes, os.Truncate(name, int64(at))
	}
	return sizes, nil
}
