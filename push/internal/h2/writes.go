package h2

import (
	"net"
	"runtime"
	"sync"
)

const (
	// mostUnwritten is how many bytes may wait to be written before whoever
	// writes has to wait: more than a lane's requests have.
	mostUnwritten = 4 << 20
	// mostSpare is how large a buffer is kept.
	mostSpare = 64 << 10
)

// writes lets what is written in many pieces leave in few. HTTP/2 flushes twice
// for each request, under a lock: a TLS record, a system call, and a wake-up of
// the other side each time. Here a goroutine of the connection's own writes, and
// takes along what has come together meanwhile. Nothing waits for company.
//
// An error is that of a later Write, and closes the connection, as HTTP/2 has
// nothing else that would tell it.
type writes struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond // any of these
	waiting []byte
	spare   []byte // what waiting was, once it was written
	closed  bool
	failure error
	running sync.WaitGroup
}

// newWrites starts the goroutine. Close ends it.
func newWrites(c net.Conn) *writes {
	w := &writes{Conn: c}
	w.changed.L = &w.mu
	w.running.Go(w.run)
	return w
}

// Write implements net.Conn. It takes b over, or says why it could not.
func (w *writes) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) > mostUnwritten && w.failure == nil && !w.closed {
		w.changed.Wait()
	}
	switch {
	case w.failure != nil:
		return 0, w.failure
	case w.closed:
		return 0, net.ErrClosed
	}
	if w.waiting = append(w.waiting, b...); len(w.waiting) == len(b) {
		w.changed.Broadcast()
	}
	return len(b), nil
}

// run writes what waits until the connection is closed.
func (w *writes) run() {
	for b := w.next(); b != nil; b = w.next() {
		_, err := w.Conn.Write(b)
		w.mu.Lock()
		if w.failure = err; cap(b) <= mostSpare {
			w.spare = b[:0]
		}
		w.changed.Broadcast()
		w.mu.Unlock()
		if err != nil {
			_ = w.Conn.Close() // HTTP/2 sees it end
			return
		}
	}
}

// next waits for something to write, and returns nil when there will be nothing.
func (w *writes) next() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) == 0 && !w.closed {
		w.changed.Wait()
	}
	if w.closed {
		return nil
	}
	w.mu.Unlock()
	runtime.Gosched() // who is about to write, writes first
	w.mu.Lock()
	b := w.waiting
	w.waiting, w.spare = w.spare, nil
	return b
}

// Close implements net.Conn. What has not been written is not any more.
func (w *writes) Close() error {
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	err := w.Conn.Close()
	w.running.Wait()
	return err
}
